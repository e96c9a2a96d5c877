"""Files of this machine, listed and measured as those of a store are."""

from bct_keras import stores


def test_a_link_to_itself_is_no_file(tmp_path):
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity" / "photo").write_text("four")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "link").symlink_to("identity/photo")
    assert stores.names_in(tmp_path) == ["identity/photo", "link"]
    assert stores.sizes_in(tmp_path) == {"identity/photo": 4, "link": 4}
    assert stores.size_of(tmp_path / "loop") is None
    assert stores.size_of(tmp_path / ("long" * 100)) is None
