"""A real RTSP server with a user and a password, for tests: GStreamer's, in a process that can be killed.

Runs under the system's Python, which is the one that Debian's python3-gi is for, so it imports nothing else.

    python3 rtsp_server.py CLIP PORT USER PASSWORD WIDTHxHEIGHT

plays CLIP (an AVI of JPEG images) as H.264 in real time at rtsp://127.0.0.1:PORT/clip, says
"ready PORT" (0 takes a free one), and changes the size of the image when a line such as "320x192" comes in.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( filesrc location={clip} ! avidemux ! jpegdec ! clocksync ! videoscale "
    "! capsfilter name=size caps={caps} "
    "! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 threads=1 "
    "! rtph264pay name=pay0 config-interval=-1 )"
)


def caps(size: str) -> str:
    width, height = size.split("x")
    return f"video/x-raw,width={width},height={height}"


def main(clip: str, port: str, user: str, password: str, size: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(PIPELINE.format(clip=clip, caps=caps(size)))

    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)

    filters = []
    factory.connect(
        "media-configure", lambda _, media: filters.append(media.get_element().get_by_name("size"))
    )
    server.get_mount_points().add_factory("/clip", factory)
    server.attach(None)

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(resize, line.strip())

    def resize(size: str) -> bool:
        for element in filters:
            element.set_property("caps", Gst.Caps.from_string(caps(size)))
        return False

    threading.Thread(target=listen, daemon=True).start()
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
