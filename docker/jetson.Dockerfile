# edgevision on a Jetson with JetPack 6. Build it on the Jetson, in the root of the repository:
#
#   sudo docker build -f docker/jetson.Dockerfile -t edgevision .
#   tr -d '\0' < /proc/device-tree/model | sudo tee /etc/nv_jetson_model
#   sudo docker run --rm -it --runtime nvidia -v "$PWD:/work" \
#       -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro -v /etc/nv_jetson_model:/etc/nv_jetson_model:ro \
#       edgevision doctor
#
# Docker hides the device tree, and the release file is not in the image: the two files tell the container which
# Jetson it runs on.
#
# JetPack comes with the base image; its release must not be newer than that of the device (see
# /etc/nv_tegra_release): R36.4 on the device, r36.4.0 here. This file was not built on a device yet.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3-venv libgl1 libglib2.0-0 \
        gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
        python3-gi gir1.2-gst-plugins-base-1.0 \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's Python package belongs to the base image. Loading it needs the device, which a build lacks.
RUN dpkg -s python3-libnvinfer > /dev/null

WORKDIR /opt/edgevision
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY edgevision edgevision
COPY export export
COPY calibration calibration
COPY configs configs
RUN python3 -m venv --system-site-packages /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[jetson]'

# Plans that are built in the container are recorded here; keep it in a volume, and they load without --trust.
ENV XDG_STATE_HOME=/state
VOLUME /state
WORKDIR /work
ENTRYPOINT ["/opt/venv/bin/edgevision"]
