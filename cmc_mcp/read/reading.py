"""A reading: one read transaction of a workspace at one point, and what its stages are handed there."""

from __future__ import annotations

from dataclasses import dataclass

from cmc_mcp.atoms.superseded import Superseded
from cmc_mcp.config import Settings
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.ids import NO_PAYLOAD, ModelNumber, Pid
from cmc_mcp.index.lexicon import Lexicon
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.index.nodematrix import NodeMatrix
from cmc_mcp.index.tables import Tables
from cmc_mcp.read.agree import Statements
from cmc_mcp.read.pending import Embedded
from cmc_mcp.read.point import Point
from cmc_mcp.store.ports import Objects, ReadView
from cmc_mcp.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Reading:
    """A view of a workspace at a read point, with what is kept in memory as of the view's erasure count."""

    workspace: Workspace
    view: ReadView
    point: Point
    model: ModelNumber  # 0: no vectors
    matrix: Matrix | None
    nodes: NodeMatrix | None
    lexicon: Lexicon
    manifests: Manifests
    statements: Statements
    embedded: Embedded
    tables: Tables
    superseded: Superseded
    origin: Pid = NO_PAYLOAD  # of the collection that is read; 0 for none, or one that is not there yet

    @property
    def settings(self) -> Settings:
        """The constants of the pipeline."""
        return self.workspace.settings

    @property
    def objects(self) -> Objects:
        """Where large content is kept."""
        return self.workspace.objects

    @property
    def model_name(self) -> str | None:
        """The name of the embedding model; None without one."""
        embedder = self.workspace.embedder
        return None if embedder is None else embedder.identity.model_id

    @property
    def embedding_model(self) -> str | None:
        """The model of the vectors; None without one, and where vectors were handed over and nobody named it."""
        embedder = self.workspace.embedder
        unknown = isinstance(embedder, ExternalEmbedder) and embedder.is_unknown
        return None if unknown or not self.model else self.model_name


def reading_at(workspace: Workspace, view: ReadView, point: Point, origin: Pid = NO_PAYLOAD) -> Reading:
    """Return what reads a workspace at a point of an open view."""
    model, erasure_count, kept = workspace.model(view), view.erasure_count(), workspace.kept
    return Reading(
        workspace=workspace,
        view=view,
        point=point,
        model=model,
        matrix=workspace.index(view, Matrix, model),
        nodes=workspace.index(view, NodeMatrix, model),
        lexicon=kept.of(erasure_count, Lexicon, workspace.ws),
        manifests=kept.of(erasure_count, Manifests),
        statements=kept.of(erasure_count, Statements),
        embedded=kept.of(erasure_count, Embedded),
        tables=kept.of(erasure_count, Tables),
        superseded=kept.of(erasure_count, Superseded),
        origin=origin,
    )
