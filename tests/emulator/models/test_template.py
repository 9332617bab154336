"""Chat templates as published models write them."""

import pytest

from emulator.models.chat import Wording
from emulator.models.template import Template
from emulator.tool import Refused

DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(is_tool=false, system_prompt='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}"
    "{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}"
    "{{'<｜User｜>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is not none %}"
    "{% set content = message['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start|>' + message['role'] + '<|end|>\n\n'+ message['content'] | trim + '<|eot|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% else %}{{ eos_token }}{% endif %}"
)
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " 你好 "},
    {"role": "assistant", "content": "<think>so</think>Hi"},
    {"role": "user", "content": "Bye"},
]


def worded(template):
    return Wording(Template(template), {"bos_token": "<b>", "eos_token": "<e>"}).text(TURNS)


def test_deepseeks_template_keeps_the_system_text_and_drops_old_thoughts():
    assert worded(DEEPSEEK) == (
        "<b>Be kind.<｜User｜> 你好 <｜Assistant｜>Hi<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>"
    )


def test_llamas_template_trims_the_content_alone():
    assert worded(LLAMA3).startswith("<b><|start|>system<|end|>\n\nBe kind.<|eot|><|start|>user<|end|>\n\n你好<|eot|>")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{# nothing #}a\n{% if true %}\nb\n{% endif %}\nc", "a\nb\nc"),
        ("a\n  {% if false %}x{% else %}y{% endif %}", "a\ny"),
        ("a {{- 'b' -}} c", "abc"),
        ("{% for m in messages %}{{ loop.last and 'end' or loop.index }}{% endfor %}", "123end"),
        ("{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}", "1"),
        ("{{ messages[1:2] | length }}{{ nothing }}", "1"),
        ("{{ 'a' if messages[0].role == 'system' else 'b' }}", "a"),
        ("{% if x is defined %}1{% elif none is none %}2{% endif %}", "2"),
        ("{{ messages[3] | tojson }}", '{"role": "user", "content": "Bye"}'),
        ("{{ 'a|b' }}", "a|b"),
    ],
)
def test_what_a_template_says(template, text):
    assert worded(template) == text


@pytest.mark.parametrize(
    "template",
    [
        "{% macro x() %}{% endmacro %}",
        "{% if true %}",
        "{% endfor %}",
        "{{ 1 + }}",
        "{{ lambda: 1 }}",
        "{{ [x for x in messages] }}",
        "{{ messages | attr }}",
        "{{ x is callable }}",
        "{{ f'{messages}' }}",
        "{{ " + "(" * 5000 + " }}",
        "x" * 100_001,
    ],
)
def test_what_is_not_known_is_refused_when_it_is_read(template):
    with pytest.raises(Refused, match="chat template"):
        Template(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ open('/etc/passwd') }}",
        "{{ 'a' + 1 }}",
        "{{ messages[9] }}",
        "{{ raise_exception('roles must alternate') }}",
        "{% set x = 'xxxxxxxxxxxxxxxx' %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    ],
)
def test_what_cannot_be_said_is_an_error_and_runs_nothing(template):
    with pytest.raises(Refused):
        worded(template)
