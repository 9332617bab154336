"""`tx81 results` on a served installation without results."""


def test_a_file_is_written_whole_and_never_over_another(tx81, at_site, tmp_path):
    file = tmp_path / "numbers.csv"

    written = tx81("results", "metrics", "-o", str(file))
    again = tx81("results", "metrics", "-o", str(file))

    assert written.code == 0
    assert file.read_text().startswith("job_id,")
    assert again.code == 2
    assert "exists; choose another path" in again.err
    assert [each.name for each in tmp_path.iterdir()] == ["numbers.csv"]


def test_a_filter_that_the_server_refuses_leaves_no_file(tx81, at_site, tmp_path):
    refused = tx81("results", "answers", "--kcore", "abc", "-o", str(tmp_path / "x.jsonl"), "--format", "jsonl")

    assert refused.code == 5
    assert "kcore" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_time_that_is_none_is_refused_with_its_option(tx81, at_site):
    refused = tx81("results", "metrics", "--since", "gestern")

    assert refused.code == 2
    assert "--since" in refused.err
