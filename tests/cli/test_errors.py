"""Whatever goes wrong takes one line that says what to do, and with ``--json`` a document too."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from caslie_tools.profiles.profile import Profile
from tests.cli.conftest import Command, finish, one_line, start
from tests.doubles import HashEmbeddings, draw_picture, light_profile, write_catalogue
from tests.paths import ROOT
from tests.shop import DATABASE

INSTANCE = ROOT / "examples" / "instances" / "category_classification.json"

MISUSE = {
    "no such command": (("fly",), "No such command 'fly'; see caslie --help"),
    "an argument missing": (("index",), "caslie index --help"),
    "no such option": (("ask", "x", "--loud"), "No such option: --loud"),
    "a count out of range": (("search", "x", "-n", "0"), "see caslie search --help"),
    "a progress unknown": (("index", "x.csv", "--progress", "loud"), "see caslie index --help"),
    "an empty question": (("ask", ""), "the question is empty; ask something"),
    "a blank question": (("ask", " \n"), "the question is empty; ask something"),
    "too long a question": (("ask", "x" * 5000), "4000 is the most"),
    "an unknown product": (("ask", "Is it red?", "--product", "none"), "there is no product 'none' in the store"),
    "captions of an unknown product": (("captions", "--product", "none"), "there is no product 'none' in the store"),
    "nothing to search for": (("search",), "search for words, a picture or both"),
    "half a filter": (("search", "x", "--where", "price <"), "the filter 'price <'"),
    "another language in a filter": (("ask", "x", "--where", "1; DROP TABLE products"), "the filter"),
    "no such catalogue": (("index", "none.csv"), "none.csv: cannot be read: No such file"),
    "a catalogue of another kind": (("index", "store"), "a catalogue is a .csv or .jsonl file"),
    "a catalogue without ids": (("index", "no-ids.csv"), "id is not among them"),
    "a catalogue with a column twice": (("index", "twice.csv"), "names the column 'image' twice"),
    "an unknown task": (("predict", "xx", INSTANCE), "there is no task 'xx'; choose one of: answerability"),
    "no such instance": (("predict", "cc", "none.json"), "none.json: cannot be read: No such file"),
    "an instance that is a folder": (("predict", "cc", "store"), "store: cannot be read: Is a directory"),
    "an instance that is no JSON": (("predict", "cc", "broken.json"), "broken.json: not JSON"),
    "an instance that is no text": (("predict", "cc", "picture.png"), "picture.png: not JSON"),
    "an instance too deep": (("predict", "cc", "deep.json"), "deep.json: not JSON"),
    "an instance that is null": (("predict", "cc", "null.json"), "an instance"),
    "an instance that is a number": (("predict", "cc", "number.json"), "cannot be understood"),
    "an instance of another task": (("predict", "prp", INSTANCE), "product 1"),
    "options missing": (("predict", "cc", "no-options.json"), "options"),
}

PICTURES = {
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
    """Files of every unusable kind, beside an indexed store."""
    (tmp_path / "no-ids.csv").write_text("title,price\nMug,3\n")
    (tmp_path / "twice.csv").write_text("id,image,image\nmug,a.png,b.png\n")
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
def busy(store: Path) -> Iterator[None]:
    """Another writer that does not come to an end."""
    with closing(sqlite3.connect(store / DATABASE, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without the rights of root, who may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.usefixtures("files")
class TestMisuse:
    @pytest.mark.parametrize(("arguments", "says"), MISUSE.values(), ids=MISUSE)
    def test_it_takes_one_line_and_ends_with_2(
        self, caslie: Command, arguments: tuple[str | Path, ...], says: str
    ) -> None:
        one_line(caslie(*arguments), code=2, says=[says])

    @pytest.mark.parametrize(("arguments", "says"), MISUSE.values(), ids=MISUSE)
    def test_with_json_it_is_a_document_too(
        self, caslie: Command, arguments: tuple[str | Path, ...], says: str
    ) -> None:
        ended = caslie(*arguments, "--json")
        assert ended.code == 2
        assert set(ended.document) == {"error"}
        assert set(ended.document["error"]) == {"type", "message"}
        assert says in ended.document["error"]["message"]
        assert ended.err == f"error: {ended.document['error']['message']}\n"

    @pytest.mark.parametrize("picture", PICTURES)
    @pytest.mark.parametrize("command", [("ask", "Is it red?"), ("search",)], ids=lambda command: command[0])
    def test_a_picture_that_cannot_be_used(self, caslie: Command, command: tuple[str, ...], picture: str) -> None:
        ended = caslie(*command, "--image", picture)
        one_line(ended, code=2, says=[PICTURES[picture]])
        assert "secret" not in ended.err

    @pytest.mark.parametrize("picture", PICTURES)
    def test_a_picture_that_cannot_be_used_costs_a_prediction_that_picture_only(
        self, caslie: Command, picture: str
    ) -> None:
        document = caslie("predict", "cc", INSTANCE, "--image", picture, "--json").document
        assert document["label"]
        assert PICTURES[picture] in document["warnings"][0]
        assert "text only" in document["warnings"][-1]

    def test_the_type_of_an_error_is_told(self, caslie: Command) -> None:
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
    def test_none_there(self, caslie: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
        one_line(caslie(*command), code=1, says=["there is no store at", "index a catalogue there first"])
        assert not (tmp_path / "store").exists()

    def test_of_another_version(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "store" / DATABASE)) as database:
            database.execute("PRAGMA user_version = 99")
        for command in (("search", "x"), ("index", shop)):
            one_line(caslie(*command), code=1, says=["format 99", "into a new directory"])

    def test_of_another_embedding_model(self, caslie: Command, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", f"{__name__}:other_profile")
        one_line(caslie("search", "x"), code=1, says=["were made with", "open it with that model"])

    @pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
    def test_damaged(self, caslie: Command, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / DATABASE).write_bytes(content)
        one_line(caslie("search", "x"), code=1, says=["store"])

    def test_cut_off_in_the_middle(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        database = tmp_path / "store" / DATABASE
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.write_bytes(database.read_bytes()[:9000])
        for index in database.parent.glob("*.faiss"):
            index.unlink()
        one_line(caslie("search", "mug"), code=1, says=["cannot use", DATABASE])

    def test_a_place_where_none_can_be_made(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        one_line(caslie("index", catalogue, "--store", catalogue), code=1, says=["cannot make a store", "File exists"])
        one_line(caslie("index", catalogue, "--store", catalogue / "in"), code=1, says=["Not a directory"])

    @pytest.mark.parametrize("mode", [0o500, 0o000])
    def test_a_folder_that_may_not_be_written(self, caslie: Command, shop: Path, tmp_path: Path, mode: int) -> None:
        closed = tmp_path / "closed"
        closed.mkdir()
        closed.chmod(mode)
        try:
            with unprivileged():
                ended = caslie("index", shop, "--store", closed / "store")
                one_line(ended, code=1, says=["Permission denied", "check the path and its rights"])
        finally:
            closed.chmod(0o700)

    def test_in_use_by_another_writer(
        self, caslie: Command, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_BUSY_TIMEOUT_SECONDS", "0.05")
        shop.write_text(shop.read_text().replace("Stoneware", "Porcelain"))
        with busy(tmp_path / "store"):
            one_line(caslie("index", shop), code=1, says=["in use by another writer", "try again"])
            assert caslie("index", shop, "--json").document["error"]["type"] == "StoreBusyError"
            # Whoever only reads does not mind, and an answer is not lost.
            assert caslie("search", "mug").code == 0
            answered = caslie("ask", "Which colour is the mug?", "--product", "mug", "--json")
            assert answered.code == 0
            assert "not remembered" in answered.document["warnings"][0]
        assert caslie("index", shop, "--json").document["captions_made"] == 1


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value", "says"),
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
    def test_that_cannot_be_used(
        self, caslie: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, says: str
    ) -> None:
        monkeypatch.setenv(name, value)
        one_line(caslie("index", write_catalogue(tmp_path)), code=1, says=[says])


class TestTheUnexpected:
    def test_it_takes_one_line_without_its_own_words(self, caslie: Command) -> None:
        ended = caslie("index", "x.csv", "--profile", f"{__name__}:unlucky_profile")
        one_line(ended, code=1, says=["unexpected ZeroDivisionError", "caslie --traceback"])
        assert "secret" not in ended.err

    def test_its_traceback_is_shown_on_demand(self, capsys: pytest.CaptureFixture[str]) -> None:
        from caslie_tools.cli import main

        with pytest.raises(SystemExit):
            main(["--traceback", "index", "x.csv", "--json", "--profile", f"{__name__}:unlucky_profile"])
        captured = capsys.readouterr()
        assert "in unlucky_profile" in captured.err
        assert json.loads(captured.out)["error"]["type"] == "ZeroDivisionError"

    def test_what_a_profile_prints_does_not_touch_the_document(self, caslie: Command, shop: Path) -> None:
        ended = caslie("search", "mug", "--json", "--profile", f"{__name__}:chatty_profile")
        assert ended.document["products"]
        assert "loading" in ended.err


class TestPipes:
    def test_a_reader_that_has_seen_enough(self, shop: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            for arguments in (("search", "mug"), ("search", "mug", "--json"), ("--help",), ("ask", "")):
                ended = finish(start(*arguments, stdout=writing))
                assert ended.code in {1, 2}
                assert "Traceback" not in ended.err
                assert "Exception ignored" not in ended.err
        finally:
            os.close(writing)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
    @pytest.mark.parametrize("form", [(), ("--json",)])
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_no_room_for_the_output(self, shop: Path, form: tuple[str, ...], unbuffered: str) -> None:
        with Path("/dev/full").open("w") as full:
            # Unbuffered output fails when it is printed, buffered output also when the interpreter ends.
            ended = finish(start("search", "mug", *form, stdout=full, environment={"PYTHONUNBUFFERED": unbuffered}))
        one_line(ended, code=1, says=["No space left"])

    def test_an_interrupt_ends_in_one_line_and_the_next_run_goes_on(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        process = start(
            "index", catalogue, "--json", "--progress", "lines", "--profile", "tests.cli.stepped:profile",
            stdin=-1,
            # Whoever runs the tests in the background may have had interrupts ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("." * 6)  # four pictures are embedded and one captioned
        process.stdin.flush()
        lines = iter(process.stderr.readline, "")
        assert next(line for line in lines if line.startswith("captioning"))
        process.send_signal(signal.SIGINT)
        ended = finish(process)
        assert ended.code == 1
        assert ended.document["error"]["type"] == "Interrupted"
        assert "run the same command to go on" in ended.err
        assert "Traceback" not in ended.err
        assert caslie("index", catalogue, "--profile", "tests.cli.stepped:profile", "--json").document["skipped"] == 4


def other_profile() -> Profile:
    light = light_profile()
    return Profile(name="other", embeddings=HashEmbeddings(identity="other"), models=light.models)


def unlucky_profile() -> Profile:
    raise ZeroDivisionError("secret")


def chatty_profile() -> Profile:
    print("loading ...")  # noqa: T201 (as some model libraries do)
    return light_profile()
