"""Chat templates as published models write them."""

import pytest

from emulator.models.chat import Wording
from emulator.models.template import Template
from emulator.tool import Refused

pytestmark = pytest.mark.slow

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
        ("{% macro x() %}y{% endmacro %}{{ x() }}", "y"),
        ("{{ messages is callable }}", "False"),
        ("{{ messages[9] }}", ""),
        (
            "{% for m in messages %}{% if loop.index == 3 %}{% break %}{% endif %}{{ m.role }} {% endfor %}",
            "system user ",
        ),
        ("{% generation %}\n{{ messages[2].content }}{% endgeneration %}", "<think>so</think>Hi"),
        ("{{ {'b': '<你&>', 'a': [1, none]} | tojson }}", '{"b": "<你&>", "a": [1, null]}'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}", '{\n  "a": 2,\n  "b": 1\n}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}{{ 'é' | tojson(ensure_ascii=true) }}", '[1,2]"\\u00e9"'),
        ("{{ strftime_now('%d %b %Y') | length }}", "11"),
        ("{{ messages | map(attribute='role') | join('-') }}", "system-user-assistant-user"),
        ("{{ messages[::-1][0].content ~ '!' }}", "Bye!"),
        ("{% for k, v in messages[3] | items %}{{ k }}={{ v }};{% endfor %}", "role=user;content=Bye;"),
        ("{{ 'a-b'.replace('-', '+') ~ ', '.join(['x', 'y']) ~ 'ab' * 2 ~ 2 ** 10 ~ 7 % 4 }}", "a+bx, yabab10243"),
    ],
)
def test_what_a_template_says(template, text):
    assert worded(template) == text


@pytest.mark.parametrize(
    "template",
    [
        "{% macro x() %}",
        "{% if true %}",
        "{% endfor %}",
        "{{ 1 + }}",
        "{{ lambda: 1 }}",
        "{{ [x for x in messages] }}",
        "{{ messages | attr }}",
        "{{ x is beautiful }}",
        "{{ 9" + "9" * 5000 + " }}",
        "{{ f'{messages}' }}",
        "{{ " + "(" * 5000 + " }}",
        "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        "{% for x in y %}" * 50 + "{% endfor %}" * 50,
        "{% if x %}" * 2000 + "{% endif %}" * 2000,
        "{{ x" + " + x" * 20_000 + " }}",
        "x" * 100_001,
    ],
    ids=lambda template: template[:40],
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
        "{{ messages[9].content }}",
        "{{ '%s' % messages }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ ''['__class__'] }}",
        "{{ messages | map(attribute='__class__') | list }}",
        "{{ self.__init__ }}",
        "{{ raise_exception.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% macro x() %}{{ x() }}{% endmacro %}{{ x() }}",
        "{{ messages | tojson(indent=1000000) }}",
        "{{ nothing | tojson }}",
        "{{ raise_exception('roles must alternate') }}",
        "{% set x = 'xxxxxxxxxxxxxxxx' %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    ],
)
def test_what_cannot_be_said_is_an_error_and_runs_nothing(template):
    with pytest.raises(Refused):
        worded(template)


def repeated(start, step, end=""):
    """A template in which `n.x` is changed by the same step 99 times."""
    return f"{{% set n = namespace(x={start}) %}}{{% for i in range(99) %}}{step}{{% endfor %}}{end}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for x in range(10 ** 9) %}{% endfor %}",
        "{% set x = range(99999) %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
        "{% set x = range(99999) %}{% for a in x %}{% for b in x %}much{% endfor %}{% endfor %}",
        "{% macro x(n) %}{% if n %}{{ x(n - 1) }}{{ x(n - 1) }}{% endif %}{% endmacro %}{{ x(100) }}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ 10 ** (10 ** 10) }}",
        repeated("9", "{% set n.x = n.x * n.x %}"),
        repeated("'a'", "{% set n.x = n.x ~ n.x %}"),
        repeated("'a'", "{% set n.x = n.x.replace('a', 'aa') %}"),
        repeated("'a'", "{% set n.x = n.x | replace('a', 'aa') %}"),
        repeated("'a'", "{% set n.x = [n.x, n.x] | join(n.x) %}"),
        repeated("'a'", "{% set n.x = n.x.join([n.x, n.x]) %}"),
        repeated("'a'", "{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}"),
        repeated("[1]", "{% set n.x = [n.x, n.x] %}", "{{ n.x }}"),
        repeated("[1]", "{% set n.x = [n.x, n.x] %}", "{{ n.x | tojson }}"),
        repeated("[1]", "{% set n.x = n.x + n.x %}"),
        "{% set x = 'a' * 10 ** 7 %}{% for i in range(9999) %}{% set y = x[1:] %}{% endfor %}",
        "{{ ('a\n' * 10000) | indent(10 ** 9) }}",
        "{{ ('a' * 10 ** 6).strip('b' * 10 ** 6) }}",
        "{{ ('a' * 10 ** 6).rsplit('ba' * 10 ** 5) }}",
        "{{ ('a' * 10 ** 6).startswith([('a' * 10 ** 6)] * 10 ** 5) }}",
        "{{ ('a' * 10 ** 6) | trim('b' * 10 ** 6) }}",
    ],
)
def test_a_rendering_is_limited_in_time_and_memory(template):
    with pytest.raises(Refused, match=r"chat template: (makes|takes more|Range too big)"):
        worded(template)


@pytest.mark.parametrize(
    "expression",
    [
        "'a' | center(10 ** 9)",
        "'a'.ljust(10 ** 9)",
        "'a'.center(10 ** 9)",
        "'a'.zfill(10 ** 9)",
        "'{:1000000000}'.format(1)",
        "'%1000000000d' | format(1)",
        "(1).to_bytes(10 ** 9, 'big')",
        "'a'.encode()",
        "[1] | batch(10 ** 9, 1) | list",
        "lipsum(n=10 ** 6)",
        "1 | round(10 ** 9)",
    ],
)
def test_what_multiplies_its_input_by_a_number_is_not_there(expression):
    with pytest.raises(Refused, match="chat template"):
        worded("{{ " + expression + " }}")
