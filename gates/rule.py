"""A rule strategy's bundle: a manifest without a model, made from a tape and a configuration, and signed.

No gate judges a rule, so its statement names none, and only a development key signs it: good for paper, refused live.
"""

from pathlib import Path
from typing import Final

from core import config
from core.canonical import hash_json
from core.errors import BadConfig, Refused
from core.plain_yaml import parse_yaml
from core.settings import Trading, as_json, parse
from feeds.tape import Tape
from gates.keys import SigningKey
from models.atomic import write_atomic
from models.bundle import load_bundle, write_bundle
from models.lineage import code_hash
from models.manifest import Manifest
from models.statement import PASS, SIGNATURE, STATEMENT, Statement, sign

PROFILE: Final = "rule"
_NOTHING: Final = "0" * 64  # the hash of what there is none of


def read_trading(path: Path) -> Trading:
    """The configuration in the YAML file at ``path``; a key it leaves out has its default. Raises BadConfig."""
    try:
        fields = parse_yaml(path.read_bytes(), where=str(path))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; name a readable file with --config") from None
    return parse(Trading, fields, where=str(path))


def make_bundle(tape: Tape, trading: Trading, folder: Path, key: SigningKey, now: str) -> str:
    """Write the bundle of ``trading``'s rule on the market of ``tape`` into ``folder``; its id.

    Raises Refused for a release key, BadConfig for settings that the core does not take.
    """
    if key.trust != "dev":
        raise Refused(
            f"key {key.public.id} is a {key.trust} key, and no gate has judged a rule: sign it with a development key "
            "(PORTCULLIS_KEYS names another folder)"
        )
    config.build(trading, tape.instruments)
    several = trading.strategies or (trading.strategy,)
    manifest = Manifest(
        strategy="+".join(dict.fromkeys(item.kind for item in several)),
        model=None,
        feature_spec={},
        feature_spec_hash=hash_json({}),
        label_spec={},
        label_spec_hash=hash_json({}),
        dialect=str(tape.meta.get("source", "")),
        dialect_hash=code_hash(("feeds",)),
        instruments=tuple(item.as_json() for item in tape.instruments),
        interval_ns=tape.interval_ns,
        data_hash=tape.tape_id,
        params_hash=hash_json(as_json(trading)),
        code_hash=code_hash(),
        injected=bool(tape.meta.get("injected")),
        folds=(),
        tolerances={},
        trading=trading,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (STATEMENT, SIGNATURE):  # of an earlier one
        (folder / name).unlink(missing_ok=True)
    write_bundle(folder, None, manifest)
    bundle = load_bundle(folder)
    statement = Statement(
        bundle_id=bundle.id,
        onnx_sha256=None,
        manifest_sha256=bundle.manifest_sha256,
        verdict=PASS,
        profile=PROFILE,
        gates={},
        metrics_sha256=_NOTHING,
        gates_sha256=_NOTHING,
        trials=0,
        created=now,
        trust=key.trust,
        key_id=key.public.id,
    )
    data, signature = sign(statement, key.private)
    write_atomic(folder / STATEMENT, data)
    write_atomic(folder / SIGNATURE, signature)
    return bundle.id
