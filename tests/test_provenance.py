import json
import platform

import medres
from medres.provenance import collect_provenance


def test_provenance_names_versions_device_and_seed() -> None:
    record = collect_provenance(device="cpu (2 threads)", seed=7)
    assert record["medres"] == medres.__version__
    assert record["packages"]["torch"]
    assert record["python"] == platform.python_version()
    assert (record["device"], record["seed"]) == ("cpu (2 threads)", 7)
    json.dumps(record)


def test_provenance_names_no_user_and_no_host() -> None:
    assert platform.node() not in json.dumps(collect_provenance(device="cpu"))
