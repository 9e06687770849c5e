"""Every setting, read once from the environment (``LETHE_...``); a bad value stops the start."""

import os
import secrets
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.artifact import ArtifactStore
from models.encoder import default_folder

OF_CLIENTS = frozenset(
    {"LETHE_URL", "LETHE_ADMIN_URL", "LETHE_API_KEY", "LETHE_ADMIN_KEY", "LETHE_SHARED"}
)
"""Variables that only the command line and benchmarks read (service/cli/connection.py)."""


class Settings(BaseSettings):
    """Settings of gateway, control plane and engines.  Frozen; the defaults suit one machine."""

    model_config = SettingsConfigDict(
        env_prefix="LETHE_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a key
    )

    data_dir: Path = Field(Path(".lethe"), description="Keys, database, artifacts and caches.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder.")
    database_password_file: Path | None = Field(
        None, description="File with the password for it, where the URL has none."
    )
    artifacts_url: str = Field(
        "", description="URL that fsspec knows (s3://...) for artifacts; empty: the data folder."
    )
    keys_url: str = Field(
        "", description="SQLAlchemy URL of a database for data keys alone; empty: beside the rest."
    )
    store_key: str = Field(
        "", repr=False, description="The store's key itself; several: newest first, by commas."
    )
    store_key_file: Path | None = Field(
        None, description="File of the store's key, newest line first; empty: in the data folder."
    )
    kms: str = Field(
        "", description="Who wraps master keys: `command`, or an entry point of `lethe.kms`."
    )
    kms_command: str = Field(
        "", description="Of `command`: called with `wrap` or `unwrap` and a context; base64."
    )

    engine: Literal["vllm", "local"] = Field(
        "vllm", description="Which engine `lethe engine` starts: vLLM, or transformers in-process."
    )
    engine_url: str = Field("http://127.0.0.1:8000", description="Where the gateway finds it.")
    engine_key_file: Path | None = Field(
        None, description="Secret shared by gateway and engine; empty: made in the data folder."
    )
    model: Path = Field(
        Path(__file__).parent.parent / "models/demo/weights/demo",
        description="Folder of the served model: tokenizer and chat template are read from it.",
    )
    served_model_name: str = Field("demo", description="The model's name in the API.")
    max_model_len: int = Field(1024, gt=0, description="Tokens of prompt and answer together.")

    adapters: int = Field(
        0, ge=0, description="LoRA adapters that the engine serves in one batch; 0: none at all."
    )
    adapter_rank: int = Field(16, ge=1, le=512, description="Highest rank of an adapter.")

    host: str = Field("127.0.0.1", description="Address of both listeners.")
    port: int = Field(8080, ge=0, le=65535, description="Data plane: the OpenAI API.")
    admin_port: int = Field(8081, ge=0, le=65535, description="Admin plane: forget requests, keys.")
    workers: int = Field(1, ge=1, le=64, description="Gateway processes; one for each core.")
    require_api_key: bool = Field(
        default=True, description="Refuse requests without a known API key."
    )

    max_body_bytes: int = Field(1 << 20, gt=0, description="Largest request body.")
    max_choices: int = Field(4, ge=1, description="Largest `n`.")
    max_prompts: int = Field(16, ge=1, description="Most prompts in one completions request.")

    upstream_timeout_s: float = Field(600.0, gt=0, description="Longest wait for one answer.")
    canary_interval_s: float = Field(30.0, gt=0, description="Between proofs that edits apply.")
    stream_grace_s: float = Field(
        5.0, ge=0, description="How long an answer may go on after its subject was forgotten."
    )
    lease_s: float = Field(2.0, gt=0, description="A replica that cannot follow for so long stops.")

    stopgap_function: Literal["rand_noise", "zero_out", "flip_sign"] = Field(
        "rand_noise", description="Embedding corruption of a stop-gap policy."
    )
    stopgap_strength: float = Field(
        5.0, gt=0, description="Its strength, in units of the embedding table's RMS."
    )
    encoder_dir: str = Field(
        "", description="Where the made sentence encoder is kept; empty: the user's cache folder."
    )
    example_threshold: float = Field(
        0.7, gt=0, le=1, description="Cosine from which a text with its names is like an example."
    )

    rewrite_url: str = Field(
        "", description="OpenAI API (.../v1) of the model that rewrites; empty: the engine itself."
    )
    rewrite_model: str = Field("", description="Its name there; of no use without a URL.")
    rewrite_key_file: Path | None = Field(None, description="File with the API key for it.")
    rewrite_timeout_s: float = Field(
        60.0, gt=0, description="Longest time for draft and rewriting; then the fallback is said."
    )
    rewrite_max_calls: int = Field(
        32, ge=1, description="Most calls of the rewriting model for one prompt."
    )

    compiler: Literal["on", "off"] = Field(
        "on", description="Whether `lethe demo` starts a compiler beside engine and gateway."
    )
    compiler_threads: int = Field(1, ge=1, le=256, description="Threads of a compiler process.")
    compiler_lease_s: float = Field(
        10.0, gt=0, description="A compiler that shows no life for so long loses its work."
    )
    recertify: bool = Field(
        default=True,
        description="Compile again what was certified for another model or engine than is served.",
    )
    floor_leak_upper: float = Field(
        0.05, ge=0, le=1, description="Highest upper bound of leaks of a policy that goes active."
    )
    floor_changed_upper: float = Field(
        0.05, ge=0, le=1, description="Highest upper bound of near misses answered differently."
    )
    compile_cost: float = Field(
        2.0, ge=1, description="A matched answer's time under a policy over that without, at most."
    )
    compile_error: float = Field(
        0.01, gt=0, lt=1, description="Share of prompts about a subject that may go unrecognised."
    )
    import_bytes: int = Field(64 << 20, gt=0, description="Largest upload of a bulk import.")

    opening_chars: int = Field(
        16, ge=0, description="An answer's first characters, held so that a catch starts it anew."
    )
    audit_log: str = Field("", description="File of audit lines; empty: in the data folder.")
    audit_key_file: Path | None = Field(
        None, description="Secret that signs audit lines; they are not signed without."
    )
    audit_max_bytes: int = Field(
        256 << 20, ge=1 << 16, description="From this size on an audit file is put aside, numbered."
    )
    audit_anchor: str = Field(
        "", description="Where anchors go: a file, an http(s) URL, or `command:` and a program."
    )
    audit_anchor_lines: int = Field(100, ge=1, description="An anchor every so many lines ...")
    audit_anchor_s: float = Field(10.0, gt=0, description="... and so many seconds after a line.")
    artifact_grace_s: float = Field(
        900.0, gt=0, description="Artifacts of ended policies stay so long, and as long as answers."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line that is written."
    )

    @model_validator(mode="after")
    def _no_unknown_variable(self) -> Self:
        # A misspelt variable would leave its setting at the default without a word.
        ours = {f"LETHE_{name.upper()}" for name in type(self).model_fields} | OF_CLIENTS
        given = {name for name in map(str.upper, os.environ) if name.startswith("LETHE_")}
        if unknown := sorted(given - ours):
            raise ValueError(f"unknown setting in the environment: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _one_source_of_the_store_key(self) -> Self:
        given = (self.store_key, self.store_key_file, self.kms)
        if sum(map(bool, given)) > 1:
            raise ValueError("only one of LETHE_STORE_KEY, LETHE_STORE_KEY_FILE and LETHE_KMS")
        return self

    @model_validator(mode="after")
    def _rewriting_model_has_a_name(self) -> Self:
        if self.rewrite_url and not self.rewrite_model:
            raise ValueError("LETHE_REWRITE_URL needs LETHE_REWRITE_MODEL")
        return self

    @property
    def database(self) -> str:
        """The database's SQLAlchemy URL, with its password.  Raises OSError."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.resolve() / 'lethe.db'}"
        path = self.database_password_file
        return _with_password(self.database_url, path) if path else self.database_url

    @property
    def store_key_path(self) -> Path:
        """The file of the store's key, where it comes from one."""
        return self.store_key_file or self.data_dir / "store.key"

    @property
    def artifacts(self) -> Path:
        """Root of the artifact store, readable by gateways and engines; of copies, with a URL."""
        return self.data_dir / "artifacts"

    def artifact_store(self) -> ArtifactStore:
        """The artifacts, with the key that opens the sealed ones: the engine's."""
        return ArtifactStore(self.artifacts, self.engine_key(), self.artifacts_url)

    @property
    def encoder_folder(self) -> Path:
        """Where the sentence encoder is kept, or made at the first start."""
        return Path(self.encoder_dir) if self.encoder_dir else default_folder()

    @property
    def audit_path(self) -> Path:
        """Where audit lines go."""
        return Path(self.audit_log) if self.audit_log else self.data_dir / "audit.jsonl"

    def environment(self) -> dict[str, str]:
        """The variables from which a child process reads these same settings."""
        given = {name: value for name, value in self if value not in (None, "")}
        return {f"LETHE_{name.upper()}": str(value) for name, value in given.items()}

    def engine_key(self) -> bytes:
        """The secret that signs edits.  Raises ValueError where a given file is too short."""
        return read_secret(self.engine_key_file or self.data_dir / "engine.key")

    def rewrite_key(self) -> str | None:
        """The API key for the rewriting model, if there is a file.  Raises OSError."""
        path = self.rewrite_key_file
        return path.read_text().strip() if path else None

    def audit_key(self) -> bytes | None:
        """The secret that signs audit lines, if any.  Raises ValueError where it is too short."""
        return read_secret(self.audit_key_file) if self.audit_key_file else None

    def pepper(self) -> bytes:
        """The secret under which API keys are hashed."""
        return read_secret(self.data_dir / "pepper.key")


def _with_password(url: str, path: Path) -> str:
    from sqlalchemy import make_url  # an engine reads settings too, and has no database

    whole = make_url(url).set(password=path.read_text().strip())
    return whole.render_as_string(hide_password=False)


def read_secret(path: Path) -> bytes:
    """The file's content, made (256 random bits, owner-only) where there is no file yet."""
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        secret = _create_secret(path)
    if len(secret) < 32:
        raise ValueError(f"the secret in {path} is shorter than 32 bytes")
    return secret


def _create_secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.touch(mode=0o600)
    temporary.write_text(secrets.token_hex(32))
    try:
        path.hardlink_to(temporary)  # unlike a rename, never replaces a secret made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return path.read_bytes().strip()
