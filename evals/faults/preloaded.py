"""All that the programs import, so that a process which has it can fork them in no time."""

import transformers.models.llama.modeling_llama  # noqa: F401
import uvicorn.protocols.http.httptools_impl  # noqa: F401
import uvloop  # noqa: F401

import evals.faults.engine_parts
import evals.faults.registry  # noqa: F401
import service.control.api
import service.gateway.app
import service.gateway.serve
import service.local.serve  # noqa: F401
