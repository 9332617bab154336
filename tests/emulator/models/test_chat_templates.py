"""Conversations as the templates of well-known families word them.

The templates are small ones in each family's style.
"""

import pytest

from emulator.models.template import Template

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather in a city <now>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "上海"}}}
TALK = [
    {"role": "system", "content": "Be kind.\n"},
    {"role": "user", "content": " 你好 "},
    {"role": "assistant", "content": "<think>\nso\n</think>\n\nHi"},
    {"role": "user", "content": "Bye"},
]
TOOL_TALK = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "yes"},
]

LLAMA = """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' \
+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN2 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) \
or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string \
and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "user" or message.role == "system" %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0] \
.rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' \
+ reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

HERMES = """\
{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" +  json_to_python_type(json_spec|items) + "]" }}
{%- elif json_spec.type is iterable and json_spec.type is not string %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
        {{- json_to_python_type({"type": t}) }}
        {%- if not loop.last %}
            {{- "," }}
        {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}

{{- bos_token }}
{{- '<|im_start|>system
' }}
{{- "You may call functions: <tools> " }}
{%- for tool in tools %}
    {%- if tool.function is defined %}
        {%- set tool = tool.function %}
    {%- endif %}
    {{- '{"name": ' + '"' + tool.name + '", ' }}
    {{- '"description": "' + tool.name + '(' }}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {{- param_name + ": " + json_to_python_type(param_fields) }}
        {%- if not loop.last %}
            {{- ", " }}
        {%- endif %}
    {%- endfor %}
    {{- ")" }}
    {%- if tool.return is defined %}
        {{- " -> " + json_to_python_type(tool.return) }}
    {%- endif %}
    {{- " - " + tool.description + '", "parameters": ' }}
    {{- tool.parameters | tojson }}
    {{- "}" }}
    {%- if not loop.last %}
        {{- "\\n" }}
    {%- endif %}
{%- endfor %}
{{- " </tools>" }}
{{- '<|im_end|>
' }}
{%- for message in messages %}
    {%- if message.role == "user" or message.role == "system" \
or (message.role == "assistant" and message.tool_calls is not defined) %}
        {{- '<|im_start|>' + message.role + '
' + message.content + '<|im_end|>' + '
' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {{- '
<tool_call>
' }}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '{"name": "' + tool_call.name + '", "arguments": ' }}
            {{- tool_call.arguments|tojson }}
            {{- "}" }}
            {{- '
</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>
' }}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}
            {{- '<|im_start|>tool
' }}
        {%- endif %}
        {{- '<tool_response>
' + message.content }}
        {%- if not loop.last %}
            {{- '
</tool_response>
' }}
        {%- else %}
            {{- '
</tool_response>' }}
        {%- endif %}
        {%- if not loop.last and loop.nextitem.role != "tool" %}
            {{- '<|im_end|>' }}
        {%- elif loop.last %}
            {{- '<|im_end|>' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant
' }}
{%- endif %}
"""

HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n".format
LLAMA_TALK = (
    f"<b>{HEADER('system')}Today Date: 1 May 2026\n\nBe kind.<|eot_id|>{HEADER('user')}你好<|eot_id|>"
    f"{HEADER('assistant')}<think>\nso\n</think>\n\nHi<|eot_id|>{HEADER('user')}Bye<|eot_id|>{HEADER('assistant')}"
)
WEATHER_SPREAD = """\
{
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather in a city <now>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {
                    "type": "string"
                }
            },
            "required": [
                "city"
            ]
        }
    }
}"""
LLAMA_TOOLS = (
    f"<b>{HEADER('system')}Environment: ipython\nToday Date: 1 May 2026\n\n<|eot_id|>"
    f"{HEADER('user')}{WEATHER_SPREAD}\n\nRain?<|eot_id|>"
    f'{HEADER("assistant")}{{"name": "weather", "parameters": {{"city": "上海"}}}}<|eot_id|>'
    f"{HEADER('ipython')}yes<|eot_id|>{HEADER('assistant')}"
)
QWEN2_TALK = """\
<|im_start|>system
Be kind.
<|im_end|>
<|im_start|>user
 你好 <|im_end|>
<|im_start|>assistant
<think>
so
</think>

Hi<|im_end|>
<|im_start|>user
Bye<|im_end|>
<|im_start|>assistant
"""
QWEN2_TOOLS = """\
<|im_start|>system
You are Qwen.

# Tools

<tools>
{"type": "function", "function": {"name": "weather", "description": "Weather in a city <now>", "parameters": \
{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
</tools><|im_end|>
<|im_start|>user
Rain?<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "weather", "arguments": {"city": "上海"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
yes
</tool_response><|im_end|>
<|im_start|>assistant
"""
QWEN3_TALK = """\
<|im_start|>system
Be kind.
<|im_end|>
<|im_start|>user
 你好 <|im_end|>
<|im_start|>assistant
Hi<|im_end|>
<|im_start|>user
Bye<|im_end|>
<|im_start|>assistant
"""
QWEN3_TOOLS = """\
<|im_start|>user
Rain?<|im_end|>
<|im_start|>assistant
<think>
look it up
</think>

<tool_call>
{"name": "weather", "arguments": {"city": "上海"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
yes
</tool_response><|im_end|>
<|im_start|>assistant
<think>

</think>

"""
HERMES_TOOLS = """\
<b><|im_start|>system
You may call functions: <tools> {"name": "weather", "description": "weather(city: str) - Weather in a city <now>", \
"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
{"name": "add", "description": "add(a: Union[int,float], b: Any) -> float - Sum", "parameters": {"properties": \
{"a": {"type": ["integer", "number"]}, "b": {"type": "object"}}}} </tools><|im_end|>
<|im_start|>user
Rain?<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "weather", "arguments": {"city": "上海"}}
</tool_call><|im_end|>
<|im_start|>tool
<tool_response>
yes
</tool_response><|im_end|><|im_start|>assistant
"""
THOUGHT = [TOOL_TALK[0], TOOL_TALK[1] | {"reasoning_content": "look it up"}, TOOL_TALK[2]]
ADD = {
    "name": "add",
    "description": "Sum",
    "parameters": {"properties": {"a": {"type": ["integer", "number"]}, "b": {"type": "object"}}},
    "return": {"type": "number"},
}


@pytest.mark.parametrize(
    ("template", "given", "text"),
    [
        pytest.param(LLAMA, {"messages": TALK, "date_string": "1 May 2026"}, LLAMA_TALK, id="llama"),
        pytest.param(
            LLAMA,
            {"messages": TOOL_TALK, "tools": [WEATHER], "date_string": "1 May 2026"},
            LLAMA_TOOLS,
            id="llama-tools",
        ),
        pytest.param(QWEN2, {"messages": TALK}, QWEN2_TALK, id="qwen2"),
        pytest.param(QWEN2, {"messages": TOOL_TALK, "tools": [WEATHER]}, QWEN2_TOOLS, id="qwen2-tools"),
        pytest.param(QWEN3, {"messages": TALK}, QWEN3_TALK, id="qwen3"),
        pytest.param(QWEN3, {"messages": THOUGHT, "enable_thinking": False}, QWEN3_TOOLS, id="qwen3-tools"),
        pytest.param(HERMES, {"messages": TOOL_TALK, "tools": [WEATHER, ADD]}, HERMES_TOOLS, id="hermes-tools"),
    ],
)
def test_a_familys_template_words_a_conversation_as_the_model_was_trained(template, given, text):
    rendered = Template(template).render({"bos_token": "<b>", "add_generation_prompt": True, **given})

    assert rendered == text


def test_a_template_names_the_day_in_its_own_words_where_none_is_given():
    rendered = Template(LLAMA).render({"bos_token": "<b>", "messages": TALK})

    assert "Today Date: " in rendered
    assert "26 Jul 2024" not in rendered


def test_a_long_conversation_is_far_from_the_limits():
    talk = TALK[1:3] * 1000

    rendered = Template(QWEN3).render({"messages": talk, "add_generation_prompt": True})

    assert rendered.count("<|im_start|>") == 2001
