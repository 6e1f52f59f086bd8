"""Media types by the extension of an origin, and languages by media type."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_BY_EXTENSION: Final = MappingProxyType(
    {
        extension: media_type
        for media_type, extensions in (
            ("text/markdown", "md markdown mdown mkd mdx"),
            ("text/plain", "txt text log"),
            ("text/x-rst", "rst"),
            ("text/html", "html htm xhtml"),
            ("text/css", "css"),
            ("text/csv", "csv"),
            ("text/tab-separated-values", "tsv"),
            ("text/x-python", "py pyi pyw"),
            ("text/javascript", "js jsx mjs cjs"),
            ("text/x-typescript", "ts mts cts"),
            ("text/x-tsx", "tsx"),
            ("text/x-go", "go"),
            ("text/x-rust", "rs"),
            ("text/x-java", "java"),
            ("text/x-c", "c h"),
            ("text/x-c++", "cpp cc cxx c++ hpp hh hxx h++ ipp tpp"),
            ("text/x-sh", "sh bash zsh"),
            ("text/x-sql", "sql"),
            ("application/json", "json"),
            ("application/jsonl", "jsonl ndjson"),
            ("application/yaml", "yaml yml"),
            ("application/toml", "toml"),
            ("application/xml", "xml"),
            ("application/pdf", "pdf"),
            ("image/png", "png"),
            ("image/jpeg", "jpg jpeg"),
            ("image/gif", "gif"),
            ("image/webp", "webp"),
            ("image/svg+xml", "svg"),
            ("audio/wav", "wav"),
            ("audio/mpeg", "mp3"),
            ("audio/ogg", "ogg oga opus"),
            ("audio/flac", "flac"),
        )
        for extension in extensions.split()
    }
)
_BY_MODALITY: Final = MappingProxyType(
    {
        "event": "application/json",
        "tool:call": "application/json",
        "image": "application/octet-stream",
        "audio": "application/octet-stream",
    }
)
_LANGUAGES: Final = MappingProxyType(
    {
        "text/x-python": "python",
        "application/x-python": "python",
        "text/javascript": "javascript",
        "application/javascript": "javascript",
        "text/x-typescript": "typescript",
        "text/typescript": "typescript",
        "application/typescript": "typescript",
        "text/x-tsx": "tsx",
        "text/x-go": "go",
        "text/x-rust": "rust",
        "text/rust": "rust",
        "text/x-java": "java",
        "text/x-java-source": "java",
        "text/x-c": "c",
        "text/x-csrc": "c",
        "text/x-chdr": "c",
        "text/x-c++": "cpp",
        "text/x-c++src": "cpp",
        "text/x-c++hdr": "cpp",
    }
)


def media_type_of(origin: str, modality: str) -> str:
    """Return the media type that the file extension of an origin (a path, URI or name) stands for.

    For an unknown extension, the modality decides: JSON for events and tool calls, plain text for other text.

    >>> media_type_of("https://example.org/guide.md?raw=1#top", "text"), media_type_of("note:5f", "text")
    ('text/markdown', 'text/plain')
    """
    name = origin
    if "://" in name:
        name = name.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")[2]
    name = name.rpartition("/")[2].rpartition("\\")[2]
    known = _BY_EXTENSION.get(name.rpartition(".")[2].lower()) if "." in name else None
    return known or _BY_MODALITY.get(modality, "text/plain")


def language_of(media_type: str) -> str | None:
    """Return the programming language of a media type, or None if no grammar covers it.

    >>> language_of("text/x-python; charset=utf-8"), language_of("text/plain")
    ('python', None)
    """
    return _LANGUAGES.get(media_type.partition(";")[0].strip().lower())
