import pytest

from orchestrator.errors import BadSpec
from workers.toolchain.view import View

MOUNTS = {"/home/lab/miniconda/": "/opt/miniconda", "/home/lab": "/home/lab", "/data/模型": "/models"}


@pytest.mark.parametrize(
    ("on_host", "inside"),
    [
        ("/home/lab/miniconda/envs/e/bin", "/opt/miniconda/envs/e/bin"),
        ("/home/lab/miniconda", "/opt/miniconda"),
        ("/home/lab/miniconda2/bin", "/home/lab/miniconda2/bin"),
        ("/data/模型/千问 7B", "/models/千问 7B"),
    ],
)
def test_a_path_is_what_its_nearest_mount_makes_of_it(on_host, inside):
    assert View("txnn", MOUNTS).path(on_host) == inside


@pytest.mark.parametrize("path", ["/data", "/data/模型2/x", "/home/lab/../../etc", "/etc"])
def test_what_is_not_mounted_is_refused_with_what_is(path):
    with pytest.raises(BadSpec, match=r"container txnn do not see .*/data/模型 at /models.*launcher\.docker\.mounts"):
        View("txnn", MOUNTS).path(path)


def test_only_words_that_are_used_have_to_be_mounted():
    words = View("txnn", MOUNTS).words({"out": "/home/lab/out", "store": "/elsewhere", "dtype": "bf16"})

    assert (words["out"], words["dtype"]) == ("/home/lab/out", "bf16")
    assert set(words) == {"out", "store", "dtype"}


def test_without_a_container_everything_is_as_it_is():
    assert View().path("/any/../where") == "/any/../where"
