"""Every error is one line that says what to do. With ``--json`` it is also a document."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from caslie_tools.exceptions import ModelError
from caslie_tools.profiles.profile import Profile
from tests.cli.commands import Command, assert_error, finish, start
from tests.doubles import HashEmbeddings, draw_picture, light_profile, write_catalogue
from tests.paths import ROOT
from tests.shop import DATABASE

INSTANCE = ROOT / "examples" / "instances" / "category_classification.json"

INVALID_INPUT = {
    "an unknown command": (("fly",), "No such command 'fly'; see caslie --help"),
    "a missing argument": (("index",), "caslie index --help"),
    "an unknown option": (("ask", "x", "--loud"), "No such option: --loud"),
    "a count out of range": (("search", "x", "-n", "0"), "see caslie search --help"),
    "an unknown progress display": (("index", "x.csv", "--progress", "loud"), "see caslie index --help"),
    "an empty question": (("ask", ""), "the question is empty; ask something"),
    "a blank question": (("ask", " \n"), "the question is empty; ask something"),
    "a question that is too long": (("ask", "x" * 5000), "shorten it to at most 4000"),
    "an unknown product": (("ask", "Is it red?", "--product", "none"), "there is no product 'none' in the store"),
    "captions of an unknown product": (("captions", "--product", "none"), "there is no product 'none' in the store"),
    "a search without text and image": (("search",), "there is nothing to search for; give a text"),
    "an incomplete filter": (("search", "x", "--where", "price <"), "the filter 'price <'"),
    "SQL in a filter": (("ask", "x", "--where", "1; DROP TABLE products"), "the filter"),
    "a missing catalogue": (("index", "none.csv"), "none.csv: cannot be read: No such file"),
    "a catalogue with another file type": (("index", "store"), "a catalogue must be a .csv, .tsv, .txt, .jsonl or"),
    "a catalogue without ids": (("index", "no-ids.csv"), "id is missing"),
    "a catalogue with a price twice": (("index", "twice.csv"), "'price' and 'price (2)' can both be the price"),
    "an empty catalogue": (("index", "empty.csv"), "there is no product in the file"),
    "an unknown column": (("index", "no-ids.csv", "--column", "id=titel"), "no column 'titel'; did you mean 'title'?"),
    "a column without a field": (("index", "no-ids.csv", "--column", "title"), "not of the form FIELD=COLUMN"),
    "two columns for a field": (("index", "x.csv", "--column", "id=a", "--column", "id=b"), "two columns for 'id'"),
    "an unknown encoding": (("index", "no-ids.csv", "--encoding", "latin-99"), "there is no encoding 'latin-99'"),
    "a long separator": (("index", "no-ids.csv", "--delimiter", "::"), "--delimiter '::' is not one character"),
    "an unknown task": (("predict", "xx", INSTANCE), "there is no task 'xx'; choose one of: answerability"),
    "a missing instance": (("predict", "cc", "none.json"), "none.json: cannot be read: No such file"),
    "an instance that is a folder": (("predict", "cc", "store"), "store: cannot be read: Is a directory"),
    "an instance that is not JSON": (("predict", "cc", "broken.json"), "broken.json: not JSON"),
    "an instance that is not text": (("predict", "cc", "picture.png"), "picture.png: not JSON"),
    "an instance with too many levels": (("predict", "cc", "deep.json"), "deep.json: not JSON"),
    "an instance that is null": (("predict", "cc", "null.json"), "an instance"),
    "an instance that is a number": (("predict", "cc", "number.json"), "the request is invalid: record: "),
    "an instance of another task": (("predict", "prp", INSTANCE), "product 1"),
    "an instance without options": (("predict", "cc", "no-options.json"), "options"),
}

UNUSABLE_IMAGES = {
    "none.png": "image 'none.png' does not exist; check its path",
    "store": "image 'store' is a folder; name a file in it",
    "broken.json": "image 'broken.json' is not an image in a supported format",
    "cut.png": "image 'cut.png' is broken or truncated",
    "huge.png": "image 'huge.png' has more than 50,000,000 pixels",
    "http://127.0.0.1:9/x.png": "not on the public internet",
    "http://169.254.169.254/latest?token=secret": "not on the public internet",
}


@pytest.fixture
def files(tmp_path: Path, shop: Path) -> Path:
    """One file of each unusable kind, and an indexed store."""
    (tmp_path / "no-ids.csv").write_text("title,price\nMug,3\n")
    (tmp_path / "twice.csv").write_text("id,price,price\nmug,1,2\n")
    (tmp_path / "empty.csv").write_text("id,title\n")
    (tmp_path / "broken.json").write_text('{"input": ')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "null.json").write_text("null")
    (tmp_path / "number.json").write_text("5")
    (tmp_path / "no-options.json").write_text(json.dumps({"input": {"title": "Mug"}}))
    (tmp_path / "picture.png").write_bytes(draw_picture("FINE"))
    (tmp_path / "cut.png").write_bytes(draw_picture("CUT")[:90])
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    return tmp_path


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Holds the write lock of the store."""
    with closing(sqlite3.connect(store / DATABASE, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def unprivileged() -> Iterator[None]:
    """Drops the rights of root, which can write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.usefixtures("files")
class TestInvalidInput:
    @pytest.mark.parametrize(("arguments", "expected"), INVALID_INPUT.values(), ids=INVALID_INPUT)
    def test_it_is_reported_in_one_line_with_exit_code_2(
        self, caslie: Command, arguments: tuple[str | Path, ...], expected: str
    ) -> None:
        assert_error(caslie(*arguments), code=2, contains=[expected])

    @pytest.mark.parametrize(("arguments", "expected"), INVALID_INPUT.values(), ids=INVALID_INPUT)
    def test_with_json_it_is_also_a_document(
        self, caslie: Command, arguments: tuple[str | Path, ...], expected: str
    ) -> None:
        result = caslie(*arguments, "--json")
        assert result.code == 2
        assert set(result.document) == {"error"}
        assert set(result.document["error"]) == {"type", "message"}
        assert expected in result.document["error"]["message"]
        assert result.err == f"error: {result.document['error']['message']}\n"

    @pytest.mark.parametrize("picture", UNUSABLE_IMAGES)
    @pytest.mark.parametrize("command", [("ask", "Is it red?"), ("search",)], ids=lambda command: command[0])
    def test_an_unusable_image_is_refused(self, caslie: Command, command: tuple[str, ...], picture: str) -> None:
        result = caslie(*command, "--image", picture)
        assert_error(result, code=2, contains=[UNUSABLE_IMAGES[picture]])
        assert "secret" not in result.err

    @pytest.mark.parametrize("picture", UNUSABLE_IMAGES)
    def test_an_unusable_image_is_only_a_warning_for_a_prediction(self, caslie: Command, picture: str) -> None:
        document = caslie("predict", "cc", INSTANCE, "--image", picture, "--json").document
        assert document["label"]
        assert UNUSABLE_IMAGES[picture] in document["warnings"][0]
        assert "text only" in document["warnings"][-1]

    def test_the_document_names_the_type_of_the_error(self, caslie: Command) -> None:
        def kind(*arguments: str) -> str:
            return str(caslie(*arguments, "--json").document["error"]["type"])

        assert kind("index", "none.csv") == "CatalogueError"
        assert kind("captions", "--product", "none") == "UnknownProductError"
        assert kind("search", "x", "--where", "price <") == "FilterError"
        assert kind("ask", "x", "--image", "none.png") == "ImageError"
        assert kind("search", "x", "--store", "none") == "StoreNotFoundError"
        assert kind("fly") == "UsageError"


class TestStore:
    @pytest.mark.parametrize("command", [("ask", "Is it red?"), ("search", "x"), ("captions",)])
    def test_a_missing_store(self, caslie: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
        assert_error(caslie(*command), code=1, contains=["there is no store at", "index a catalogue there first"])
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize(
        "command", [("index", "none.csv"), ("predict", "xx", INSTANCE), ("demo", "--store", "new")]
    )
    def test_a_command_that_fails_leaves_no_empty_store(
        self, caslie: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", f"{__name__}:failing_profile")
        assert caslie(*command).code != 0
        assert list(tmp_path.iterdir()) == []

    def test_a_store_of_another_version(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "store" / DATABASE)) as database:
            database.execute("PRAGMA user_version = 99")
        for command in (("search", "x"), ("index", shop)):
            assert_error(caslie(*command), code=1, contains=["format 99", "into a new directory"])

    def test_a_store_of_another_embedding_model(
        self, caslie: Command, shop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", f"{__name__}:other_profile")
        assert_error(caslie("search", "x"), code=1, contains=["were made with", "open it with that model"])

    @pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
    def test_a_damaged_store(self, caslie: Command, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / DATABASE).write_bytes(content)
        assert_error(caslie("search", "x"), code=1, contains=["store"])

    def test_a_truncated_store(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        database = tmp_path / "store" / DATABASE
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.write_bytes(database.read_bytes()[:9000])
        for index in database.parent.glob("*.faiss"):
            index.unlink()
        assert_error(caslie("search", "mug"), code=1, contains=["cannot use", DATABASE])

    def test_a_path_where_no_store_can_be_created(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        assert_error(
            caslie("index", catalogue, "--store", catalogue), code=1, contains=["cannot create a store", "File exists"]
        )
        assert_error(caslie("index", catalogue, "--store", catalogue / "in"), code=1, contains=["Not a directory"])

    @pytest.mark.parametrize("mode", [0o500, 0o000])
    def test_a_folder_without_write_permission(self, caslie: Command, shop: Path, tmp_path: Path, mode: int) -> None:
        closed = tmp_path / "closed"
        closed.mkdir()
        closed.chmod(mode)
        try:
            with unprivileged():
                result = caslie("index", shop, "--store", closed / "store")
                assert_error(result, code=1, contains=["Permission denied", "check the path and its permissions"])
        finally:
            closed.chmod(0o700)

    def test_a_store_that_another_process_writes_to(
        self, caslie: Command, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_BUSY_TIMEOUT_SECONDS", "0.05")
        shop.write_text(shop.read_text().replace("Stoneware", "Porcelain"))
        with locked(tmp_path / "store"):
            assert_error(caslie("index", shop), code=1, contains=["in use by another writer", "try again"])
            assert caslie("index", shop, "--json").document["error"]["type"] == "StoreBusyError"
            # Reading still works, and a question is still answered.
            assert caslie("search", "mug").code == 0
            answered = caslie("ask", "Which colour is the mug?", "--product", "mug", "--json")
            assert answered.code == 0
            assert "not stored" in answered.document["warnings"][0]
        assert caslie("index", shop, "--json").document["captions_made"] == 1


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("CASLIE_PROFILE", "none", "there is no profile 'none'; choose one of embedded"),
            ("CASLIE_PROFILE", "none:none", "the profile 'none:none' cannot be imported"),
            ("CASLIE_PROFILE", "json:dumps", "the profile 'json:dumps' cannot be imported"),
            ("CASLIE_PROFILE", "os:getcwd", "not a caslie_tools Profile"),
            ("CASLIE_BUSY_TIMEOUT_SECONDS", "0", "the setting CASLIE_BUSY_TIMEOUT_SECONDS cannot be used"),
            ("CASLIE_IMAGES__MAX_BYTES", "many", "the setting CASLIE_IMAGES__MAX_BYTES cannot be used"),
            ("CASLIE_IMAGES", "{", "the settings in the environment cannot be read"),
        ],
    )
    def test_an_unusable_setting_is_refused(
        self, caslie: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, expected: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert_error(caslie("index", write_catalogue(tmp_path)), code=1, contains=[expected])


class TestUnexpectedError:
    def test_its_message_is_not_printed(self, caslie: Command) -> None:
        result = caslie("index", "x.csv", "--profile", f"{__name__}:crashing_profile")
        assert_error(result, code=1, contains=["unexpected ZeroDivisionError", "caslie --traceback"])
        assert "secret" not in result.err

    def test_traceback_shows_the_traceback(self, capsys: pytest.CaptureFixture[str]) -> None:
        from caslie_tools.cli import main

        with pytest.raises(SystemExit):
            main(["--traceback", "index", "x.csv", "--json", "--profile", f"{__name__}:crashing_profile"])
        captured = capsys.readouterr()
        assert "in crashing_profile" in captured.err
        assert json.loads(captured.out)["error"]["type"] == "ZeroDivisionError"

    def test_output_of_a_profile_goes_to_standard_error(self, caslie: Command, shop: Path) -> None:
        result = caslie("search", "mug", "--json", "--profile", f"{__name__}:printing_profile")
        assert result.document["products"]
        assert "loading" in result.err


class TestPipes:
    def test_a_closed_standard_output(self, shop: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            for arguments in (("search", "mug"), ("search", "mug", "--json"), ("--help",), ("ask", "")):
                result = finish(start(*arguments, stdout=writing))
                assert result.code in {1, 2}
                assert "Traceback" not in result.err
                assert "Exception ignored" not in result.err
        finally:
            os.close(writing)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
    @pytest.mark.parametrize("form", [(), ("--json",)])
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_a_full_standard_output(self, shop: Path, form: tuple[str, ...], unbuffered: str) -> None:
        with Path("/dev/full").open("w") as full:
            # Unbuffered output fails when it is printed. Buffered output also fails when the interpreter exits.
            result = finish(start("search", "mug", *form, stdout=full, environment={"PYTHONUNBUFFERED": unbuffered}))
        assert_error(result, code=1, contains=["No space left"])

    def test_an_interrupt_is_one_line_and_the_next_run_resumes(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        process = start(
            "index", catalogue, "--json", "--progress", "lines", "--profile", "tests.cli.stepped_profile:profile",
            stdin=-1,
            # SIGINT may be ignored if the tests run in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("." * 7)  # five images are embedded and two captioned, which completes one product or more
        process.stdin.flush()
        lines = iter(process.stderr.readline, "")
        assert next(line for line in lines if line.startswith("captioning"))
        process.send_signal(signal.SIGINT)
        result = finish(process)
        assert result.code == 1
        assert result.document["error"]["type"] == "Interrupted"
        assert "Run the same command again to resume" in result.err
        assert "Traceback" not in result.err
        assert (
            caslie("index", catalogue, "--profile", "tests.cli.stepped_profile:profile", "--json").document["skipped"]
            == 4
        )


def other_profile() -> Profile:
    light = light_profile()
    return Profile(name="other", embeddings=HashEmbeddings(identity="other"), models=light.models)


class _FailingEmbeddings(HashEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise ModelError("the embedding model does not answer")


def failing_profile() -> Profile:
    return replace(light_profile(), embeddings=_FailingEmbeddings())


def crashing_profile() -> Profile:
    raise ZeroDivisionError("secret")


def printing_profile() -> Profile:
    print("loading ...")  # noqa: T201 (as some model libraries do)
    return light_profile()
