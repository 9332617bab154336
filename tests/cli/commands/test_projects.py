def test_a_waiting_job_is_explained_on_a_page_and_as_a_document(tx81, queued):
    page, document = tx81("explain", queued), tx81("explain", queued, "--output", "json")

    assert (page.code, document.code) == (0, 0)
    assert "dispatcher_away" in page.out
    assert document.document["reasons"][0]["kind"] == "dispatcher_away"
    assert document.document["past"][0]["about"] == "submitted"


def test_a_project_gets_a_weight(tx81, at_site):
    made = tx81("projects", "set", "nightly", "--weight", "2", "--output", "json")

    listed = {each["name"]: each["weight"] for each in tx81("projects", "--output", "json").document}

    assert (made.code, made.document["weight"]) == (0, 2.0)
    assert listed["nightly"] == 2.0
    assert "nightly" in tx81("projects").out


def test_a_weight_of_nothing_is_wrong_usage(tx81, at_site):
    ran = tx81("projects", "set", "nightly", "--weight", "0")

    assert ran.code == 2
    assert ran.out == ""


def test_a_build_tells_what_the_cache_did_for_it(tx81, queued):
    page, document = tx81("explain", queued), tx81("explain", queued, "--output", "json").document

    assert "cache off: the request says use_cache: false" in page.out
    assert (document["cache"]["outcome"], document["cache"]["changed"], document["tries"]) == ("off", [], [])
