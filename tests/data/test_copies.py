"""Files with the same content are found by it, whatever they are called."""

from edgevision.data.copies import find_copies, find_shared


def write(folder, **files):
    folder.mkdir()
    paths = {}
    for name, content in files.items():
        paths[name] = folder / name
        paths[name].write_text(content)
    return paths


def test_each_copy_is_named_with_the_first(tmp_path):
    one = write(tmp_path / "one", a="cat", b="dog", c="cat", d="cat", e="catfish")
    found = find_copies(list(one.values()))
    assert found == [(one["c"], one["a"]), (one["d"], one["a"])]


def test_equal_sizes_are_not_copies(tmp_path):
    assert find_copies(list(write(tmp_path / "one", a="cat", b="dog").values())) == []


def test_content_that_two_sets_share(tmp_path):
    one = write(tmp_path / "one", a="cat", b="dog", c="bird")
    other = write(tmp_path / "two", x="dog", y="dog", z="fish")
    assert find_shared(list(one.values()), list(other.values())) == [(one["b"], other["x"])]
