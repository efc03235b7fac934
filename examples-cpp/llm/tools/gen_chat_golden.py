#!/usr/bin/env python3
"""Writes the golden vectors of chat templates with an independent oracle: Python's Jinja2, set up as PyPI's `transformers` does.

    pip install jinja2==3.1.6
    python3 tools/gen_chat_golden.py tests/data

chat.tsv: name, template, messages (role, content, role, content, ...), 1 with a generation prompt, "text" or "error", and the rendered
text or the exception's message; all but the names in hex, messages separated by spaces ("-" stands for an empty one).
"""
import json
import pathlib
import sys

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

BOS, EOS = "<s>", "</s>"

# Templates of our own with the constructs that templates of published models use.
TEMPLATES = {
    "chatml": """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "default-system": """{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a robot.<|im_end|>\n' }}{% endif %}
{{ '<|im_start|>' + message.role + '\n' + message.content | trim + '<|im_end|>' + '\n' }}{% endfor %}
{%- if add_generation_prompt -%}
    {{ '<|im_start|>assistant\n' }}
{%- endif -%}""",
    "alternating": """{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}
{%- for m in rest -%}
    {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('roles must alternate: ' ~ m.role) }}
    {%- endif -%}
    {%- if m.role == 'user' -%}
        {{ '[INST] ' + (system if loop.first else '') + m.content.strip() + ' [/INST]' }}
    {%- elif m.role == 'assistant' -%}
        {{ ' ' + m.content.strip() + eos_token }}
    {%- else -%}
        {{ raise_exception('unknown role') }}
    {%- endif -%}
{%- endfor -%}""",
    "thinking": """{%- set ns = namespace(last=-1, seen=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.last < 0 and message.role == "user" and not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- if loop.index0 > ns.last or loop.last %}
            {{- '<think>\n' ~ thought ~ '\n</think>\n\n' }}
        {%- endif %}
    {%- endif %}
    {{- message.role ~ ': ' ~ content ~ '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'assistant: ' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think></think>' }}{%- endif %}{%- endif %}""",
    "macro": """{%- macro turn(role, text='', end=true) -%}
<|{{ role }}|>{{ text|trim }}{% if end %}<|end|>{% endif %}
{%- endmacro -%}
{%- for m in messages -%}
{{ turn(m['role'], m['content']) }}
{% endfor -%}
{%- if add_generation_prompt -%}{{ turn('assistant', end=false) }}{%- endif -%}""",
    "controls": """{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% if loop.index > 4 %}{% break %}{% endif %}{{ loop.index }}/{{ loop.length }}{{ loop.revindex0 }}{{ m.role|upper }}{% endfor %}""",
    "json": """{{ messages[0] | tojson }}{{ messages | tojson(indent=2) }}{% if tools is not none and tools %}tools{% endif %}{% if not documents %}none{% endif %}""",
    "tests": """{% for m in messages %}{{ m.content is string }}{{ m is mapping }}{{ m.name is defined }}{{ (m.name or 'anonymous') }}{{ m.get('name', '?') }}{{ m.content|length }}{{ 'a' in m.content }};{% endfor %}{{ messages is iterable }}{{ none }}{{ true }}{{ [1, 2.5, 'x', none] | length }}{{ undefined_name is undefined }}{{ undefined_name }}""",
    "dicts": """{% for m in messages %}{% for key, value in m.items() %}{{ key }}={{ value|replace('\n', ' ') }},{% endfor %}{% endfor %}{% set words = messages[-1].content.split(' ') %}{{ words|first }}|{{ words|last }}|{{ words|join('+') }}|{{ words[1:]|join('-') }}|{{ messages|map(attribute='role')|list|join(',') }}|{{ messages|selectattr('role', 'equalto', 'user')|list|length }}|{{ messages|rejectattr('role', 'equalto', 'user')|map(attribute='content')|first|default('nobody') }}""",
    "strings": """{{ messages[0].content.title() }}|{{ messages[0].content.capitalize() }}|{{ messages[0].content.replace('a', 'b') }}|{{ messages[0].content.find('l') }}|{{ messages[0].content[:3] }}|{{ messages[0].content[-2:] }}|{{ messages[0].content * 2 }}|{{ '%s and %s' | format('x', 'y') }}|{{ messages[0].content.upper().lower() }}|{{ messages[0].content.split() | length }}""",
    "numbers": """{{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 5 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 1.0 }} {{ 3 > 2 and not (1 == 2) }} {{ range(3) | list | length }} {{ [3, 1, 2] | sort | join(',') }} {{ (1, 2)[1] }} {{ -5 // 2 }} {{ 'x' if messages|length == 99 else 'y' }}""",
    "whitespace": """
   {% if true %}
  kept
   {%- endif %}
     {{- ' a ' -}}
  {# a comment #}
  {% if messages %}  x  {% endif %}
  {%+ if messages %}y{% endif +%}
end
""",
    "missing": """{{ messages[0].absent.deeper }}""",
    "raise": """{{ raise_exception('only user and assistant roles are supported!') }}""",
}

CONVERSATIONS = {
    "one": [("user", "Hello")],
    "system": [("system", "Be brief."), ("user", " all well?\n")],
    "long": [("system", "S\n"), ("user", "first a"), ("assistant", "<think>\nhm\n</think>\n\nsecond"), ("user", "third \"quoted\" <b>&'"), ("assistant", "fourth"), ("user", "\u00e9\u4e16\U0001f680 \\ /")],
    "wrong": [("user", "a"), ("user", "b"), ("tool", "")],
}


def environment():
    def raise_exception(message):
        raise TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made


def main():
    env = environment()

    def cell(text):
        return text.encode().hex() or "-"

    with open(pathlib.Path(sys.argv[1]) / "chat.tsv", "w") as out:
        for name, source in TEMPLATES.items():
            template = env.from_string(source)
            for title, conversation in CONVERSATIONS.items():
                for prompt in (False, True):
                    messages = [{"role": role, "content": content} for role, content in conversation]
                    try:
                        result, text = "text", template.render(messages=messages, bos_token=BOS, eos_token=EOS, add_generation_prompt=prompt, tools=None, documents=None)
                    except TemplateError as error:
                        result, text = "error", str(error)
                    row = [f"{name}/{title}", cell(source), " ".join(cell(part) for turn in conversation for part in turn), str(int(prompt)), result, cell(text)]
                    out.write("\t".join(row) + "\n")


main()
