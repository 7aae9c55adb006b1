"""Chat templates by name, in Jinja: those of families that are often tuned, and one for models that never chatted."""

from __future__ import annotations

CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""OpenAI's, SmolLM's and, in the main, Qwen's; the tokenizer must have ``<|im_start|>`` and ``<|im_end|>``."""

LLAMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
"""Llama 3's, without the date that 3.1 and later write."""

PLAIN = """\
{%- if bos_token is defined and bos_token != eos_token -%}{{- bos_token -}}{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}{{- message['content'] + '\\n\\n' -}}
{%- elif message['role'] == 'assistant' -%}{{- '### Response:\\n' + message['content'] + eos_token + '\\n\\n' -}}
{%- else -%}{{- '### Instruction:\\n' + message['content'] + '\\n\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}
"""
"""Alpaca's headings (Taori et al. 2023), and the end-of-text token behind each answer: it needs no tokens of its own,
and so does for any tokenizer."""

TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "plain": PLAIN}
"""By the name that a recipe has for it."""
