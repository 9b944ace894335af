"""What the site shows that is not a file below docs/: a hook of mkdocs, named in mkdocs.yml.

The command line's reference is made from the commands themselves, that of YAML files from their JSON Schemas.
The models' cards, the changelog and the other papers of the project stay where people look for them, and are
shown from there. Links lead from file to file of the repository, and are changed where the site has a file at
another place.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from edgevision.cli import program

ROOT = Path(__file__).parents[1]

SHOWN = {
    "models/retinanet-light.md": "edgevision/zoo/retinanet-light.md",
    "models/unet-light.md": "edgevision/zoo/unet-light.md",
    "models/unet-road.md": "edgevision/zoo/unet-road.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
}
"""Where on the site a paper of the repository stands."""

_PLACES = {paper: page for page, paper in SHOWN.items()}
_PAGE = re.compile(r"docs/((?:[a-z-]+/)*([a-z-]+)\.md)")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made; mkdocs calls it with those below docs/."""
    made = {name: (ROOT / paper).read_text(encoding="utf-8") for name, paper in SHOWN.items()}
    made["reference/yaml.md"] = yaml_files()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Changes the links of a page, and adds the commands to theirs; mkdocs calls it with each page."""
    name = page.file.src_uri
    if name == "reference/cli.md":
        markdown += command_line()
    return linked(markdown, SHOWN.get(name, f"docs/{name}"), name)


def linked(text: str, paper: str, page: str) -> str:
    """The text of a paper with links that lead from its page to other pages of the site.

    Example:
        >>> linked("[Security](../../SECURITY.md#report)", "docs/concepts/trust.md", "concepts/trust.md")
        '[Security](../project/security.md#report)'
    """

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(paper), link[0]))
        place = _PLACES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        return link[0] if place is None else posixpath.relpath(place, posixpath.dirname(page) or ".")

    return _LINK.sub(on_site, text)


def command_line() -> str:
    """Every command with its arguments and options, as Typer documents them."""
    group = typer.main.get_group(program)
    context = typer.Context(group)
    text = "\n\n| Command | |\n|---|---|\n"
    for name, command in group.commands.items():
        text += f"| [`{name}`](#edgevision-{name}) | {(command.help or '').partition('.')[0]}. |\n"
    for command in group.commands.values():
        made = get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="edgevision")
        text += f"\n{_readable(made)}"
    return _PAGE.sub(r"[\2](../\1)", text)


SCHEMAS = {
    "streams": ("Streams", "../guides/streams.md"),
    "zones": ("Zones and lines", "../guides/zones.md"),
    "train": ("Training", "../guides/configuration.md"),
    "device": ("Devices", "../guides/tensorrt.md"),
}
"""The title of each schema, and the page that explains it."""


def yaml_files() -> str:
    """Every key of every YAML file, from the JSON Schemas that ship."""
    text = """# YAML files

An unknown key is an error that names the nearest.

```sh
edgevision schema streams > streams.schema.json
```

writes a JSON Schema (also of `zones`, `train` and `device`). An editor that speaks YAML's language server
completes and checks a file that begins with this line:

```yaml
# yaml-language-server: $schema=streams.schema.json
```
"""
    for name, (title, page) in SCHEMAS.items():
        schema = json.loads((ROOT / f"edgevision/schemas/{name}.schema.json").read_text(encoding="utf-8"))
        roots = [one["$ref"].rpartition("/")[2] for one in schema.get("oneOf", [schema])]
        text += f"\n## {title}\n\nWhat they are for: [{title}]({page}).\n"
        for kind, found in sorted(schema["$defs"].items(), key=lambda one: one[0] not in roots):
            if "properties" in found:
                text += f"\n### {_plain(kind)} {{#{_anchor(name, kind)}}}\n\n"
                text += f"{found.get('description', '')}\n\n{_keys(found, name, schema['$defs'])}"
    return _PAGE.sub(r"[\2](../\1)", text)


def _plain(kind: str) -> str:
    """``DataConfig`` of ``DataConfig_SegmentationSource_``."""
    return kind.partition("_")[0]


def _anchor(name: str, kind: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{kind}".lower()).strip("-")


def _keys(structure: dict[str, Any], name: str, others: dict[str, Any]) -> str:
    """The table of a structure; what one sets for all that it lists stands at those alone."""
    properties = structure["properties"]
    items = [one["items"] for one in properties.values() if isinstance(one.get("items"), dict)]
    listed = {one["$ref"].rpartition("/")[2] for one in items if "$ref" in one}
    told = {
        key: kind
        for kind in listed
        for key, value in others[kind]["properties"].items()
        if properties.get(key) == value
    }
    text = "".join(
        f"The keys of [{_plain(kind)}](#{_anchor(name, kind)}), for all that set nothing else, and:\n\n"
        for kind in sorted(set(told.values()))
    )
    text += "| Key | Takes | Default | |\n|---|---|---|---|\n"
    for key, value in properties.items():
        if key not in told:
            default = "needed" if key in structure.get("required", []) else ""
            if value.get("default") is not None:
                default = f"`{json.dumps(value['default'])}`"
            meaning = value.get("description", "").replace("|", "\\|").replace("\n", " ")
            text += f"| `{key}` | {_takes(value, name, others)} | {default} | {meaning} |\n"
    return text


def _takes(value: dict[str, Any], name: str, others: dict[str, Any]) -> str:
    """What a key takes, in a few words."""
    for several in ("anyOf", "oneOf"):
        if several in value:
            words = [_takes(one, name, others) for one in value[several] if one.get("type") != "null"]
            return ", or ".join(dict.fromkeys(words))
    if "$ref" in value:
        kind = value["$ref"].rpartition("/")[2]
        if "properties" not in others[kind]:
            return _takes(others[kind], name, others)
        return f"[{_plain(kind)}](#{_anchor(name, kind)})"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if value.get("type") == "array":
        inner = value.get("items") or (value.get("prefixItems") or [{}])[0]
        return f"list of {_takes(inner, name, others)}" if inner else "list"
    return str(value.get("type", "anything"))


def _readable(text: str) -> str:
    """Examples become blocks of code, and what says nothing or repeats what follows is left out."""
    for pattern in (r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", r"^\* `--help`.*\n"):
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    text = re.sub(r"\*\*(Options|Arguments)\*\*:\n\n(?!\*)", "", text)
    text = re.sub(r"(?:^  \S.*\n)+", _block, text, flags=re.MULTILINE)
    code_apart = re.split(r"(```.*?```|`[^`\n]+`)", text, flags=re.DOTALL)
    code_apart[::2] = [part.replace("<", "&lt;") for part in code_apart[::2]]
    return "".join(code_apart)


def _block(lines: re.Match[str]) -> str:
    return "\n```sh\n" + "".join(f"{line[2:]}\n" for line in lines[0].splitlines()) + "```\n"
