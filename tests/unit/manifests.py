"""The Kubernetes manifests as an overlay puts them together: resources, components, and the settings as a ConfigMap."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
"""Yours too, where it lies beside the others."""
KUSTOMIZATION = "kustomization.yaml"
WORKLOADS = ("Deployment", "StatefulSet")
Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def manifests() -> list[Path]:
    """Every file of manifests, those that no overlay takes among them."""
    return sorted(path for path in FOLDER.rglob("*.yaml") if path.name != KUSTOMIZATION)


def settings(overlay: str) -> dict[str, str]:
    lines = (FOLDER / "overlays" / overlay / "settings.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def put_together(folder: Path) -> list[Document]:
    """What the kustomization in `folder` names, and what those name. None of ours patches anything."""
    (kustomization,) = documents(folder / KUSTOMIZATION)
    found = []
    for name in kustomization.get("resources", []) + kustomization.get("components", []):
        path = (folder / name).resolve()
        found += put_together(path) if path.is_dir() else documents(path)
    return found


class Installation:
    """One overlay's documents."""

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay
        self.documents = put_together(FOLDER / "overlays" / overlay)
        self.settings = settings(overlay)

    def of(self, *kinds: str) -> dict[str, Document]:
        return {each["metadata"]["name"]: each for each in self.documents if each["kind"] in kinds}

    @property
    def pods(self) -> dict[str, Document]:
        """The pod template of each workload."""
        return {name: each["spec"]["template"] for name, each in self.of(*WORKLOADS).items()}

    def container(self, name: str) -> Document:
        (only,) = self.pods[name]["spec"]["containers"]
        return dict(only)

    def environment(self, name: str) -> dict[str, str]:
        """What the container of workload `name` finds; what comes from a pod or a secret is its key's name."""
        container = self.container(name)
        assert container["envFrom"] == [{"configMapRef": {"name": "bruce-settings"}}]
        own = {}
        for entry in container["env"]:
            source = entry.get("valueFrom", {})
            secret = source.get("secretKeyRef", {}).get("key")
            own[entry["name"]] = str(entry.get("value") or secret or source["fieldRef"]["fieldPath"])
        return {**self.settings, **own}

    def selected(self, selector: Document) -> set[str]:
        """The workloads whose pods `selector` selects."""
        return {name for name, pod in self.pods.items() if selects(selector, pod["metadata"]["labels"])}


def selects(selector: Document, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True
