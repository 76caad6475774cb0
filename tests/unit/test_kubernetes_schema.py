"""Every manifest is what Kubernetes and KEDA take, to the last field: a field that they do not know is refused."""

import copy
import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.unit.manifests import FOLDER, KUSTOMIZATION, OVERLAYS, documents, manifests, put_together

OLDEST, NEWEST = "1.30", "1.37"
"""The versions of Kubernetes that the README of the manifests names."""
KEDA = json.loads((Path(__file__).parent / "keda.schema.json").read_text(encoding="utf-8"))
TAKES_NO_MORE_THAN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "configMapGenerator"}
"""What `put_together` knows of kustomizations, and what changes no document beyond its name."""


def check(document, version):
    if document["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(document, KEDA)
    else:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("path", manifests(), ids=lambda path: str(path.relative_to(FOLDER)))
def test_each_document_is_what_kubernetes_takes(path, version):
    for document in documents(path):
        check(document, version)


def of_kind(kind):
    return copy.deepcopy(next(each for each in put_together(FOLDER / "overlays" / "managed") if each["kind"] == kind))


@pytest.mark.parametrize(
    ("kind", "where", "field", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0), "livenesProbe", {}),
        (
            "Deployment",
            ("spec", "template", "spec", "containers", 0, "securityContext"),
            "readOnlyRootFilesystem",
            "yes",
        ),
        ("StatefulSet", ("spec",), "podManagementPolice", "Parallel"),
        ("NetworkPolicy", ("spec",), "ingres", []),
        ("PodDisruptionBudget", ("spec",), "maxUnavailable", [1]),
        ("ScaledObject", ("spec",), "maxReplicas", 12),
        ("ScaledObject", ("spec", "triggers", 0, "metadata"), "lagThreshold", 2000),
        ("ScaledObject", ("spec", "triggers", 0, "metadata"), "excludePersistantLag", "true"),
        ("TriggerAuthentication", ("spec", "secretTargetRef", 0), "secret", "bruce-kafka"),
    ],
)
def test_a_misspelt_field_or_a_wrong_value_is_refused(kind, where, field, value):
    document = of_kind(kind)
    check(document, NEWEST)
    place = document
    for step in where:
        place = place[step]
    place[field] = value
    with pytest.raises(jsonschema.ValidationError):
        check(document, NEWEST)


def test_kustomizations_do_nothing_that_these_tests_do_not_see():
    for path in FOLDER.rglob(KUSTOMIZATION):
        (found,) = documents(path)
        assert set(found) <= TAKES_NO_MORE_THAN, path
        assert found["kind"] in ("Kustomization", "Component")
        assert [one["name"] for one in found.get("configMapGenerator", [])] in ([], ["bruce-settings"])


def test_every_manifest_is_in_some_overlay_but_the_secrets():
    taken = [yaml.safe_dump(each) for overlay in OVERLAYS for each in put_together(FOLDER / "overlays" / overlay)]
    left_out = {path.name for path in manifests() for each in documents(path) if yaml.safe_dump(each) not in taken}
    assert left_out == {"secrets.example.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here: kustomize itself is not asked")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_puts_together_what_these_tests_put_together(overlay):
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    built = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for document in built:
        check(document, NEWEST)
    names = {(each["kind"], each["metadata"]["name"]) for each in built if each["kind"] != "ConfigMap"}
    assert names == {(each["kind"], each["metadata"]["name"]) for each in put_together(FOLDER / "overlays" / overlay)}
    (settings,) = (each for each in built if each["kind"] == "ConfigMap")
    assert {each["metadata"].get("namespace") for each in built if each["kind"] != "Namespace"} == {"bruce"}
    used = {
        source["configMapRef"]["name"]
        for each in built
        if each["kind"] in ("Deployment", "StatefulSet")
        for source in each["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    }
    assert used == {settings["metadata"]["name"]}
