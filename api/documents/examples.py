"""Request bodies that work as written once the names in them are registered; shown in the OpenAPI document."""

from typing import Any

_BUILD: dict[str, Any] = {
    "convert": {"spec": {"kind": "convert", "model": "qwen2-7b", "backend_type": "qwen2_7b_bf16"}},
    "compile": {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}},
    "infer": {
        "spec": {
            "kind": "infer",
            "model": "qwen2-7b",
            "kcore": {"job": "compile", "artifact": "kcore"},
            "prompts": {"path": "/data/prompts/问答.txt"},
            "max_tokens": 256,
        },
        "placement": {"slot": "g3"},
    },
}

JOB: dict[str, Any] = {
    "quantize": {
        "summary": "Quantise a model",
        "value": {"spec": {"kind": "quantize", "model": "qwen2-7b"}, "name": "nightly-quant", "project": "nightly"},
    },
    "infer": {
        "summary": "Run a kernel image that an earlier job built, twice, on cards 12..15",
        "value": {
            "spec": {
                "kind": "infer",
                "model": "qwen2-7b",
                "kcore": {"job": 41, "artifact": "kcore"},
                "prompts": {"path": "/data/prompts/问答.txt"},
                "cards": "12..15",
                "repeats": 2,
            },
            "priority": 7,
            "limits": {"run_seconds": 3600},
        },
    },
    "serve": {
        "summary": "A server on two card groups that is restarted whenever it dies",
        "value": {
            "spec": {
                "kind": "serve",
                "model": "qwen2-7b",
                "kcore": {"job": 41, "artifact": "kcore"},
                "groups": 2,
                "idle_seconds": 3600,
                "keep": True,
            },
        },
    },
}

BULK: dict[str, Any] = {
    "two": {"summary": "Two jobs or none", "value": {"jobs": [JOB["quantize"]["value"], JOB["infer"]["value"]]}}
}

PIPELINE: dict[str, Any] = {
    "weights to answers": {"summary": "From weights to answers", "value": {"name": "qwen2-7b", "jobs": _BUILD}}
}

BATCH: dict[str, Any] = {
    "stress": {
        "summary": "Twice on every card group in service; stop at the first dead card",
        "value": {
            "name": "stress-qwen2-7b",
            "stop_on": "sticky_fault",
            "template": {
                "spec": {
                    "kind": "infer",
                    "model": "qwen2-7b",
                    "kcore": {"job": 41, "artifact": "kcore"},
                    "prompts": {"path": "/data/prompts/问答.txt"},
                }
            },
            "times": 2,
            "slots": "all",
        },
    },
    "list": {
        "summary": "Two jobs with one report",
        "value": {"name": "nightly", "jobs": [JOB["quantize"]["value"], JOB["infer"]["value"]]},
    },
}

ORDER: dict[str, Any] = {
    "hold": {
        "summary": "Hold what a project has not begun",
        "value": {"action": "hold", "filter": {"project": "nightly"}, "note": "new driver at noon"},
    },
    "priority": {
        "summary": "Move three jobs to the front",
        "value": {"action": "priority", "jobs": [41, 42, 43], "priority": 9},
    },
}

PROVISION: dict[str, Any] = {
    "look": {
        "summary": "Only report what would be done",
        "value": {
            "packages": "/srv/packages/1.2.1_build0307",
            "root": "/opt/tx81/1.2.1_build0307",
            "release": "build0307",
            "profile": "txnn_1.2.1_build0307",
            "dry_run": True,
        },
    },
    "second": {
        "summary": "Another release next to the installed one, without the driver",
        "value": {
            "packages": "/srv/packages/1.2.1_build0307",
            "root": "/opt/tx81/1.2.1_build0307",
            "release": "build0307",
            "profile": "txnn_1.2.1_build0307",
            "driver": False,
        },
    },
}

RESERVATION: dict[str, Any] = {
    "host": {
        "summary": "A host for a new driver, from a fixed time on",
        "value": {
            "hosts": ["lab1"],
            "starts_at": "2026-12-01T14:00:00+08:00",
            "ends_at": "2026-12-01T16:00:00+08:00",
            "note": "升级驱动",
        },
    },
    "project": {
        "summary": "Two card groups for a project's jobs alone, from now on for two hours",
        "value": {"slots": ["lab1.g2", "lab1.g3"], "seconds": 7200, "project": "bringup"},
    },
}

SUITE: dict[str, Any] = {
    "nightly": {
        "summary": "One model with today's default release, three times on any card group",
        "value": {
            "name": "nightly",
            "matrix": {
                "models": ["qwen2-7b"],
                "backend_types": ["qwen2_7b_bf16"],
                "prompts": {"basic": {"prompts": {"path": "/data/prompts.txt"}}},
            },
            "across": ["release", "toolchain", "kcore"],
        },
    },
    "throughput": {
        "summary": "A stored kernel image on two card groups, judged by its throughput too",
        "value": {
            "name": "throughput",
            "matrix": {
                "models": ["qwen2-7b"],
                "prompts": {"basic": {"prompts": {"digest": "sha256:" + "b" * 64}}},
                "slots": ["lab1.g0", "lab1.g1"],
            },
            "template": {"kcore": {"digest": "sha256:" + "a" * 64}},
            "repeats": 6,
            "budget": 12,
            "gates": {"output_throughput": {"effect": 0.05, "alpha": 0.01}},
        },
    },
}

AB: dict[str, Any] = {
    "two": {
        "summary": "Repeat two jobs side by side on the card group of the first",
        "value": {"a": 41, "b": 42, "blocks": 5},
    },
    "random": {
        "summary": "On a named card group, in random order, judged by one metric",
        "value": {
            "a": 41,
            "b": 42,
            "blocks": 8,
            "order": "random",
            "slot": "lab1.g3",
            "gates": {"output_throughput": {"effect": 0.02}},
        },
    },
}

BASELINE: dict[str, Any] = {
    "set": {
        "summary": "Three runs of one cell, which later runs are held to",
        "value": {
            "suite": "nightly",
            "cell": "model=qwen,prompts=basic",
            "jobs": [4, 5, 6],
            "reason": "build 0307 as delivered",
        },
    },
    "accept": {
        "summary": "A shift that is accepted: later runs take the place of baseline 1",
        "value": {
            "suite": "nightly",
            "cell": "model=qwen,prompts=basic",
            "jobs": [14, 15, 16],
            "reason": "bf16 softmax is slower and exact",
            "replaces": 1,
        },
    },
}
