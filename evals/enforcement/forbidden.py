"""Request fields that the gateway must turn down, whatever the prompt (docs/api.md)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

CHAT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "unknown field": {"surprise": 1},
        "logprobs": {"logprobs": True, "top_logprobs": 3},
        "prompt_logprobs": {"prompt_logprobs": 1},
        "positive logit_bias": {"logit_bias": {"300": 50}},
        "allowed_token_ids": {"allowed_token_ids": [300, 301]},
        "vllm_xargs": {"vllm_xargs": {"lethe": "x"}},
        "cache_salt": {"cache_salt": "mine"},
        "chat_template": {"chat_template": "{{ messages[0].content }}"},
        "continue_final_message": {"continue_final_message": True, "add_generation_prompt": False},
        "add_generation_prompt": {"add_generation_prompt": False},
        "prefilled answer": {
            "messages": [
                {"role": "user", "content": "Where?"},
                {"role": "assistant", "content": "In"},
            ]
        },
        "beam search": {"use_beam_search": True},
        "best_of": {"best_of": 3},
        "min_tokens": {"min_tokens": 8},
        "ignore_eos": {"ignore_eos": True},
        "truncate_prompt_tokens": {"truncate_prompt_tokens": 4},
        "too many choices": {"n": 1000},
    }
)
COMPLETION: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "echo": {"echo": True},
        "logprobs": {"logprobs": 2},
        "suffix": {"suffix": "."},
        "prompt_embeds": {"prompt_embeds": "AAAA"},
    }
)
