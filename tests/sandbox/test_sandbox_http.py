"""The HTTP backends against a local server that speaks their protocols, and one that misbehaves."""

import base64
import http.server
import json
import threading
import time

import pytest

from r1jax.errors import UserError
from r1jax.sandbox import Job, Limits, Sandbox, Status, http_backends

QUICK = Limits(wall_seconds=0.5, output_bytes=1000)


class Service(http.server.ThreadingHTTPServer):
    """Answers each request by the next of `answers`: a JSON value, or a function of the request's handler."""

    def __init__(self):
        self.answers, self.requests, self.headers = [], [], []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that has given up


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, json.loads(body)))
        self.server.headers.append(dict(self.headers))
        answer = self.server.answers.pop(0)
        answer(self) if callable(answer) else send(self, 200, json.dumps(answer).encode())

    def log_message(self, *words):
        pass


def send(handler, code, body, length=None):
    handler.send_response(code)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def failing(code, body=b"{}"):
    return lambda handler: send(handler, code, body)


def drop(handler):
    handler.close_connection = True
    handler.connection.close()


def cut_short(handler):
    send(handler, 200, b'{"run"', length=1000)
    handler.close_connection = True


def drip(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def flood(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" " * 2**16)


def fusion(**run):
    status = {"status": "Finished", "execution_time": 0.25, "return_code": 0, "stdout": "", "stderr": ""} | run
    return {"status": "Success" if status["return_code"] == 0 else "Failed", "message": "", "run_result": status}


def piston(**run):
    return {
        "language": "python",
        "version": "3.12.0",
        "run": {"stdout": "", "stderr": "", "code": 0, "signal": None} | run,
    }


OK = {"sandbox_fusion": fusion(stdout="4\n"), "piston": piston(stdout="4\n")}


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(http_backends, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(http_backends, "WAITING_SECONDS", 0.5)
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(service, backend, job, *answers):
    service.answers += answers
    with Sandbox(backend, url=service.url) as sandbox:
        result = sandbox.run(job)
    assert not service.answers
    return result


def test_sandbox_fusion_is_asked_in_its_words(service):
    job = Job(source="print(2 + 2)", stdin="in", files={"a/b.txt": b"\x00\xff"}, limits=Limits(wall_seconds=3))
    result = run(service, "sandbox_fusion", job, OK["sandbox_fusion"])
    assert (result.status, result.stdout, result.exit_code, result.wall_seconds) == (Status.FINISHED, b"4\n", 0, 0.25)
    assert service.requests == [
        (
            "/run_code",
            {
                "code": "print(2 + 2)",
                "language": "python",
                "run_timeout": 3,
                "memory_limit_MB": 512,
                "stdin": "in",
                "files": {"a/b.txt": base64.b64encode(b"\x00\xff").decode()},
            },
        )
    ]


def test_piston_is_asked_in_its_words(service, monkeypatch):
    monkeypatch.setenv(http_backends.TOKEN_VARIABLE, "key")
    job = Job(
        argv=("python3", "main.py", "-v"), files={"main.py": "print(4)", "x": b"1"}, limits=Limits(wall_seconds=3)
    )
    result = run(service, "piston", job, piston(stdout="4\n", cpu_time=20, wall_time=30, memory=1000))
    assert (result.stdout, result.cpu_seconds, result.wall_seconds, result.peak_memory_bytes) == (
        b"4\n",
        0.02,
        0.03,
        1000,
    )
    ((path, request),) = service.requests
    assert path == "/api/v2/execute"
    assert [file["name"] for file in request["files"]] == ["main.py", "x"]
    assert base64.b64decode(request["files"][0]["content"]) == b"print(4)"
    assert (request["args"], request["run_timeout"], request["stdin"]) == (["-v"], 3000, "")
    assert service.headers[0]["Authorization"] == "key"


@pytest.mark.parametrize(
    ("backend", "answer", "status", "exit_code", "signal"),
    [
        ("sandbox_fusion", fusion(return_code=3, stderr="no"), Status.FINISHED, 3, None),
        ("sandbox_fusion", fusion(return_code=-11), Status.CRASHED, None, 11),
        ("sandbox_fusion", fusion(return_code=1, stderr="...\nMemoryError\n"), Status.OVER_MEMORY, 1, None),
        ("sandbox_fusion", fusion(status="TimeLimitExceeded", return_code=None), Status.OVER_TIME, None, None),
        ("sandbox_fusion", fusion(stdout="x" * 2000), Status.OVER_OUTPUT, None, None),
        ("piston", piston(code=3), Status.FINISHED, 3, None),
        ("piston", piston(code=None, signal="SIGSEGV"), Status.CRASHED, None, 11),
        ("piston", piston(code=None, signal="SIGKILL", status="TO"), Status.OVER_TIME, None, None),
        ("piston", piston(code=None, signal="SIGKILL", status="OL"), Status.OVER_OUTPUT, None, None),
        ("piston", piston(stderr="x" * 2000), Status.OVER_OUTPUT, None, None),
        ("piston", flood, Status.OVER_OUTPUT, None, None),
    ],
)
def test_what_a_service_says_of_a_program(service, backend, answer, status, exit_code, signal):
    result = run(service, backend, Job(source="", limits=QUICK), answer)
    assert (result.status, result.exit_code, result.signal) == (status, exit_code, signal)
    assert len(result.stdout) <= QUICK.output_bytes >= len(result.stderr)


@pytest.mark.parametrize("backend", ["sandbox_fusion", "piston"])
@pytest.mark.parametrize(
    "fault",
    [failing(500), failing(503), failing(429), failing(200, b"<html>"), failing(200, b"[]"), drop, cut_short],
    ids=["500", "503", "429", "no JSON", "no object", "drops", "cut short"],
)
def test_a_fault_is_asked_again(service, backend, fault):
    result = run(service, backend, Job(source="", limits=QUICK), fault, fault, OK[backend])
    assert (result.status, result.stdout) == (Status.FINISHED, b"4\n")


@pytest.mark.parametrize(
    ("backend", "answer"),
    [
        ("sandbox_fusion", failing(500)),
        ("sandbox_fusion", {"status": "SandboxError", "message": "no pod"}),
        ("sandbox_fusion", {"status": "Success", "message": "", "run_result": {"status": "Odd"}}),
        ("sandbox_fusion", fusion(return_code="many")),
        ("piston", piston(status="XX", message="isolate")),
        ("piston", {"message": "hello"}),
        ("piston", piston(code=None, signal="SIGNOT")),
        ("piston", lambda handler: time.sleep(1.5)),
        ("piston", drip),
    ],
)
def test_a_fault_that_stays_is_no_verdict_on_the_program(service, backend, answer):
    start = time.monotonic()
    result = run(service, backend, Job(source="", limits=QUICK), *[answer] * http_backends.TRIES)
    assert result.status is Status.INFRASTRUCTURE_ERROR
    assert result.detail
    assert time.monotonic() - start < 10


def test_a_refused_request_is_not_asked_again(service):
    result = run(service, "piston", Job(source="", limits=QUICK), failing(400, b'{"message": "python-3.x is unknown"}'))
    assert result.status is Status.INFRASTRUCTURE_ERROR
    assert "python-3.x is unknown" in result.detail


def test_nobody_there(service):
    with Sandbox("piston", url="http://127.0.0.1:9") as sandbox:
        assert sandbox.run(Job(source="", limits=QUICK)).status is Status.INFRASTRUCTURE_ERROR


def test_a_batch_keeps_its_order_and_is_stamped(service):
    service.answers += [piston(stdout=str(number)) for number in range(3)]
    with Sandbox("piston", url=service.url) as sandbox:
        assert [result.text() for result in sandbox.run_batch([Job(source="")] * 3)] == ["0", "1", "2"]
        assert sandbox.stamp == {"sandbox": "piston", "unsafe": False, "isolated": {}}


@pytest.mark.parametrize(
    ("backend", "job"),
    [
        ("piston", Job(argv=("ls",))),
        ("sandbox_fusion", Job(argv=("python3", "gone.py"))),
        ("sandbox_fusion", Job(argv=("python3", "a.py", "x"), files={"a.py": ""})),
    ],
)
def test_what_a_service_cannot_run_is_said(service, backend, job):
    with Sandbox(backend, url=service.url) as sandbox, pytest.raises(UserError, match="found|HTTP backend"):
        sandbox.run(job)


def test_two_joined_programs_need_jails(service):
    with Sandbox("piston", url=service.url) as sandbox, pytest.raises(UserError, match="bubblewrap"):
        sandbox.run_pair(Job(source=""), Job(source=""))
