import msgspec
import pytest

from edgevision.config import build_config, config_faults, load_config, read_document
from edgevision.errors import ConfigError


class Train(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epochs: int
    rate: float = 0.1


class Layer(msgspec.Struct, frozen=True):
    width: int


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    train: Train
    layers: tuple[Layer, ...] = ()
    note: str | None = None


GOOD = "name: net\ntrain:\n  epochs: 3\nlayers:\n  - width: 8\n"


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "model.yaml"
        path.write_text(text)
        return path

    return write


class Car(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="car"):
    doors: int


class Bicycle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bicycle"):
    gears: int
    lights: int = 1


class Garage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vehicle: Car | Bicycle


@pytest.mark.parametrize(
    ("vehicle", "fault"),
    [
        (
            {"kind": "bycicle", "gears": 3},
            "`vehicle.kind` is 'bycicle'; expected one of: car, bicycle; did you mean 'bicycle'?",
        ),
        ({"kind": 3}, "`vehicle.kind` is 3; expected one of: car, bicycle"),
        (
            {"kind": "bicycle", "gears": 3, "ligths": 2},
            "unknown key 'vehicle.ligths'; did you mean 'lights'?",
        ),
        (
            {"kind": "bicycle", "gears": 3, "doors": 4},
            "unknown key 'vehicle.doors'; known keys: gears, lights",
        ),
        ({"kind": "car"}, "missing required field `doors` in `vehicle`"),
    ],
)
def test_of_several_structures_the_one_that_is_meant_says_what_is_wrong(
    vehicle: dict[str, object], fault: str
) -> None:
    assert config_faults({"vehicle": vehicle}, Garage) == [fault]


def test_a_file_becomes_a_frozen_structure(config):
    found = load_config(config(GOOD), Model)
    assert found == Model("net", Train(3), (Layer(8),))
    with pytest.raises(AttributeError):
        found.name = "other"  # type: ignore[misc]


def test_overrides_are_yaml_values_over_the_file(config):
    found = load_config(config(GOOD), Model, ["train.epochs=7", "train.rate=0.5", "note=null"])
    assert found.train == Train(7, 0.5)
    assert found.note is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("epochs", "epoch"), "unknown key 'train.epoch'; did you mean 'epochs'"),
        (GOOD + "nmae: x\n", "unknown key 'nmae'; did you mean 'name'"),
        (GOOD + "zzz: x\n", "unknown key 'zzz'; known keys: layers, name, note, train"),
        (GOOD.replace("width", "widht"), "unknown key 'layers.0.widht'; did you mean 'width'"),
        ("name: net\n", "missing required field `train`"),
        (GOOD.replace("3", "three"), "`train.epochs` is text; expected a whole number"),
        (GOOD.replace("3", "nan"), "`train.epochs` is nan; expected a finite whole number"),
        (GOOD.replace("3", "-Inf"), "`train.epochs` is -Inf; expected a finite whole number"),
        (GOOD + "note: 3\n", "`note` is a whole number; expected text"),
        (GOOD.replace("- width: 8", "- {}"), "missing required field `width` in `layers[0]`"),
        ("- a\n- b\n", "expected keys and values, found a list"),
        ("", "expected keys and values, found nothing"),
        ("a: [1\n", "is not valid YAML"),
    ],
)
def test_a_wrong_file_gets_one_line(config, text, message):
    with pytest.raises(ConfigError) as caught:
        load_config(config(text), Model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("name.first=3", "name is a value, not a group of keys"),
        ("train.epohcs=3", "did you mean 'epochs'"),
        ("note=[1", "not valid YAML"),
    ],
)
def test_a_wrong_override_gets_one_line(config, override, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(config(GOOD), Model, [override])


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"not found: .*absent\.yaml"):
        load_config(tmp_path / "absent.yaml", Model)
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path, Model)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError):
        load_config(binary, Model)


def test_build_config_from_plain_values():
    assert build_config({"epochs": 2}, Train, "here") == Train(2)
    with pytest.raises(ConfigError, match="here"):
        build_config({}, Train, "here")


def test_all_faults_of_a_file_are_told_at_once():
    class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        size: int
        name: str = ""

        def __post_init__(self) -> None:
            if self.size < 1:
                raise ValueError(f"size is {self.size}; expected 1 or more")

    class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        first: Inner
        second: Inner
        several: tuple[Inner, ...]
        title: str
        share: float = 0.5

    document = {
        "first": {"size": 0},
        "second": {"sise": 2, "name": 3},
        "several": [{"size": 1}, {"size": "x"}],
        "share": None,
    }
    with pytest.raises(ConfigError) as raised:
        build_config(document, Outer, "a.yaml")
    text = str(raised.value)
    assert text.startswith("a.yaml: 7 faults: unknown key 'second.sise'; did you mean 'size'?; ")
    for fault in (
        "size is 0; expected 1 or more",
        "missing required field `size` in `second`",
        "`second.name` is a whole number; expected text, in quotes",
        "`several[1].size` is text; expected a whole number",
        "missing required field `title`",
        "`share` is empty; expected a number",
    ):
        assert fault in text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2024-01-01", "a date"),
        ("2024-01-01 10:00:00", "a date with a time"),
        ("2024", "a whole number"),
        ("1.5", "a number"),
        ("yes", "true or false"),
    ],
)
def test_text_that_yaml_takes_for_something_else_needs_quotes(tmp_path, value, found):
    path = tmp_path / "named.yaml"
    path.write_text(f"name: {value}\n")
    with pytest.raises(ConfigError, match=f"`name` is {found}; expected text, in quotes"):
        load_config(path, Named)
    path.write_text(f'name: "{value}"\n')
    assert load_config(path, Named).name == value


@pytest.mark.parametrize(
    "text", ["name: 2024-13-45", "name: " + "[" * 3000, "name: " + "[" * 1500 + "]" * 1500]
)
def test_dates_that_are_none_and_deep_lists_are_one_line(tmp_path, text):
    path = tmp_path / "named.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"named\.yaml is not valid YAML") as refused:
        load_config(path, Named)
    assert len(str(refused.value)) < 300
    path.write_text("name: a")
    with pytest.raises(ConfigError, match="the value is not valid YAML") as refused:
        load_config(path, Named, [text.replace(": ", "=")])
    assert len(str(refused.value)) < 300


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is written twice in line 3, column 1"),
        (
            "streams:\n  - name: x\n    source: y\n    source: z\n",
            "'source' is written twice in line 4, column 5",
        ),
        (
            "rtsp://ann:s3cret@cam/x: 1\nrtsp://ann:s3cret@cam/x: 1\n",
            "a key is written twice in line 2, column 1",
        ),
    ],
)
def test_a_key_that_is_written_twice_is_refused(tmp_path, text, said):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_document(path)
    assert str(refused.value) == f"{path} is not valid YAML: {said}"
    path.write_text("x: &x {a: 1}\nb: {<<: *x, a: 2}\n")  # merged keys may be written anew
    assert read_document(path)["b"] == {"a": 2}
