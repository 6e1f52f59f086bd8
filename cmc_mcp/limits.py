"""Every bound of the system, with its unit in the name. A value past a bound raises `LimitExceeded`, which names the bound."""

from __future__ import annotations

from typing import Final

# what one memory may be
CONTENT_BYTES_MAX: Final = 16 * 1024 * 1024
ATOM_BYTES_MAX: Final = 8_192  # a longer block of prose or code is split
DOCUMENT_ATOMS_MAX: Final = 10_000  # blocks of one document, so that no write holds the lock for long
INLINE_BYTES: Final = 65_536  # larger content goes to the object store
TAGS_MAX: Final = 64
TAG_KEY_CHARS_MAX: Final = 64
TAG_VALUE_CHARS_MAX: Final = 1_024
TITLE_CHARS_MAX: Final = 512
ORIGIN_CHARS_MAX: Final = 2_048
SESSION_CHARS_MAX: Final = 512
SPEAKER_CHARS_MAX: Final = 256
CLAIM_CHARS_MAX: Final = 1_024
REASON_CHARS_MAX: Final = 2_048
MODEL_ID_CHARS_MAX: Final = 256
TOOL_IDS_MAX: Final = 64
DERIVED_FROM_MAX: Final = 256
IDEMPOTENCY_KEY_CHARS_MAX: Final = 256
LABEL_CHARS_MAX: Final = 128
PRINCIPAL_CHARS_MAX: Final = 256
WORKSPACE_CHARS_MAX: Final = 64
METADATA_BYTES_MAX: Final = 65_536
ENTRY_ID_CHARS_MAX: Final = 2_048
COLLECTION_CHARS_MAX: Final = 256

# what one call may ask
BATCH_ITEMS_MAX: Final = 1_000  # items in one transaction of remember_many
FORGET_IDS_MAX: Final = 10_000
QUERY_CHARS_MAX: Final = 8_192
RECALL_ITEMS_MAX: Final = 200
RECALL_TOKENS_MIN: Final = 60  # of a budget in which any memory can be shown, if only as an excerpt
BUDGET_TOKENS_MAX: Final = 100_000
HISTORY_ITEMS_MAX: Final = 1_000
FILTER_NODES_MAX: Final = 10_000  # conditions, and values of lists, in one filter
FILTER_DEPTH_MAX: Final = 32
ENTRIES_K_MAX: Final = 10_000  # entries that one search returns
AROUND_MAX: Final = 3  # neighbours on each side of a memory
CURSOR_CHARS_MAX: Final = 1_024
ID_PREFIX_CHARS_MIN: Final = 4  # hex digits that the prefix of an id must have
REFERENCE_CHARS_MAX: Final = 8_192  # of the name of something stored: an origin, a label, an id
CHECKPOINT_CHARS_MAX: Final = 65_536
PROBLEMS_MAX: Final = 20  # problems that one error lists; of further ones it has the number
PROBLEM_CHARS_MAX: Final = 2_000  # of the path of one problem, and of its message
METADATA_DEPTH_MAX: Final = 256  # lists and maps inside each other

# full text
TERM_CHARS_MAX: Final = 128  # of a longer word, the first
MARKS_MAX: Final = 30  # combining characters in a row; further ones are left out (UAX 15, stream-safe text)
VOCABULARY_TERMS_MAX: Final = 262_144  # words, and as many identifiers, among which near terms are looked for
NEAR_TERMS_MAX: Final = 8  # that a word is widened by

# time: RFC 3339 years, as microseconds since 1970
TIME_US_MIN: Final = -62_135_596_800_000_000  # 0001-01-01
TIME_US_MAX: Final = 253_402_300_799_999_999  # 9999-12-31

# waiting
LOCK_WAIT_MS_MAX: Final = 30_000
EMBED_TIMEOUT_S: Final = 30.0
EMBED_BATCH_MAX: Final = 256

# serving
HTTP_BODY_BYTES_MAX: Final = 32 * 1024 * 1024
HTTP_BODIES_BYTES_MAX: Final = 256 * 1024 * 1024  # of all requests that are being answered
HTTP_CONNECTIONS_MAX: Final = 2_048
HTTP_PATIENCE_S: Final = 30.0  # for a request to arrive, and for its answer to be read
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024  # of a message, its content left out
MESSAGE_ELEMENTS_MAX: Final = 32_768  # values in one message
MESSAGE_DEPTH_MAX: Final = 64  # lists and objects inside each other
ANSWER_CHARS_MAX: Final = 200_000
CALLS_PER_MINUTE_MAX: Final = 1_000_000  # the highest rate that a token may have

# memory
MATRIX_BYTES_MAX: Final = 2 * 1024**3
