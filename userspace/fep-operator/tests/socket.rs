// SPDX-License-Identifier: GPL-2.0

//! Both ends of the socket, in one program.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fep_operator::{
    serve, Answer, Call, Client, Error, Hello, Listener, Node, Reason, Request, Snapshot,
    REQUEST_MAX,
};
use tokio::sync::{mpsc, oneshot};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A daemon in a thread, until it is dropped.
struct Fake {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    fn start(answer: impl FnMut(Call) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/fepd.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, listens) = channel();
        let (path, mut answer) = (socket.clone(), answer);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&path).unwrap();
                ready.send(()).unwrap();
                let (calls, mut taken) = mpsc::channel(1);
                let answers = async {
                    while let Some(call) = taken.recv().await {
                        answer(call);
                    }
                };
                tokio::select! {
                    () = serve(listener, "fepd test", calls) => {}
                    () = answers => {}
                    _ = stopped => {}
                }
            });
        });
        listens.recv().unwrap();
        Self {
            _directory: directory,
            socket,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn client(&self) -> Result<Client, Error> {
        Client::connect(&self.socket, "test", LIMIT)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn done(call: Call) {
    call.answer(Answer::DONE);
}

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        ..Node::default()
    }
}

#[test]
fn every_request_has_its_answer() {
    let fake = Fake::start(|call| {
        let answer = match &call.request {
            Request::Snapshot => Answer::Snapshot(Box::new(Snapshot {
                nodes: vec![node("a")],
                ..Snapshot::default()
            })),
            Request::NodeDel { node } => Answer::refused(Reason::NotThere, node.clone()),
            _ => Answer::DONE,
        };
        call.answer(answer);
    });
    let mut client = fake.client().unwrap();
    assert_eq!(client.hello(), &Hello::new("fepd test"));
    assert_eq!(client.ask(&Request::Reload).unwrap(), Answer::DONE);
    let node = "b".to_owned();
    let refused = client.ask(&Request::NodeDel { node }).unwrap();
    assert_eq!(refused, Answer::refused(Reason::NotThere, "b"));
    let Answer::Snapshot(snapshot) = client.ask(&Request::Snapshot).unwrap() else {
        panic!("no snapshot");
    };
    assert!(snapshot.node("a").is_some() && snapshot.node("b").is_none());
}

#[test]
fn a_snapshot_of_a_thousand_nodes_comes_through() {
    let big = Snapshot {
        nodes: (0..1000)
            .map(|at| Node {
                why: "y".repeat(1000),
                ..node(&at.to_string())
            })
            .collect(),
        ..Snapshot::default()
    };
    let sent = big.clone();
    let fake = Fake::start(move |call| call.answer(Answer::Snapshot(Box::new(sent.clone()))));
    let answer = fake.client().unwrap().ask(&Request::Snapshot).unwrap();
    assert_eq!(answer, Answer::Snapshot(Box::new(big)));
}

#[test]
fn only_the_owner_may_open_it_and_it_goes_with_the_daemon() {
    let fake = Fake::start(done);
    let mode = std::fs::metadata(&fake.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = fake.socket.clone();
    let folder = socket.parent().unwrap().to_owned();
    let names = || std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(names(), 1);
    let mut fake = fake;
    drop(fake.stop.take());
    fake.thread.take().unwrap().join().unwrap();
    assert_eq!(names(), 0);
    let error = Client::connect(&socket, "test", LIMIT).unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error}");
    assert!(error.to_string().contains("is fepd running?"), "{error}");
}

fn bind(path: &Path) -> std::io::Result<Listener> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    Listener::bind(path)
}

#[test]
fn a_socket_left_behind_is_replaced_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fepd.sock");
    // Left behind by one that was killed.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(bind(&path).unwrap());
    let kept = UnixListener::bind(&path).unwrap();
    let error = bind(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("fepd.sock: somebody listens there"),
        "{error}"
    );
    drop(kept);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = bind(&path).unwrap_err().to_string();
    assert!(error.ends_with("is there, and is not a socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_socket_that_another_put_there_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fepd.sock");
    let first = bind(&path).unwrap();
    std::fs::rename(&path, directory.path().join("old")).unwrap();
    let _second = bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

/// Says something and takes all that comes back, line by line.
fn say(fake: &Fake, lines: &[&[u8]]) -> Vec<String> {
    let mut stream = UnixStream::connect(&fake.socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    for line in lines {
        // It may have closed meanwhile.
        let _ = stream.write_all(line);
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .collect()
}

#[test]
fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let fake = Fake::start(done);
    let hello = b"{\"version\":1,\"oldest\":1,\"program\":\"x\",\"later\":[]}\n";
    let lines = say(
        &fake,
        &[
            hello,
            b"{\"request\":\"dance\"}\n",
            b"nonsense\n",
            b"{\"request\":\"reload\",\"later\":true}\n",
            b"{\"request\":\"rel",
        ],
    );
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("unsupported") && lines[1].contains("dance"));
    assert!(lines[2].contains("unsupported"));
    assert_eq!(lines[3], "{\"answer\":\"done\"}");
}

#[test]
fn a_line_without_end_is_not_kept() {
    let fake = Fake::start(|_| panic!("nothing is asked"));
    let hello = b"{\"version\":1,\"oldest\":1,\"program\":\"x\"}\n";
    let lines = say(&fake, &[hello, &vec![b'['; 2 * REQUEST_MAX]]);
    assert!(lines.len() <= 2 && !lines.is_empty(), "{}", lines.len());
    // Whoever does not greet is told nothing.
    assert_eq!(say(&fake, &[&vec![b'x'; 2 * REQUEST_MAX]]), [""; 0]);
    assert_eq!(say(&fake, &[b"{\"request\":\"snapshot\"}\n"]), [""; 0]);
}

#[test]
fn another_version_is_told_ours_and_not_served() {
    let fake = Fake::start(|_| panic!("nothing is asked"));
    let lines = say(
        &fake,
        &[
            b"{\"version\":9,\"oldest\":8,\"program\":\"x\"}\n",
            b"{\"request\":\"reload\"}\n",
        ],
    );
    assert_eq!(lines.len(), 1);
    let hello: Hello = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(hello, Hello::new("fepd test"));
}

#[test]
fn too_many_are_told_so() {
    let fake = Fake::start(done);
    let mut all: Vec<Client> = (0..64).map(|_| fake.client().unwrap()).collect();
    let error = fake.client().unwrap_err().to_string();
    assert!(error.ends_with("64 are connected already"), "{error}");
    assert_eq!(all[63].ask(&Request::Reload).unwrap(), Answer::DONE);
    // There is room again once they have gone; when that is seen is the other thread's matter.
    drop(all);
    let end = std::time::Instant::now() + LIMIT;
    while fake.client().is_err() {
        assert!(std::time::Instant::now() < end);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_call_that_is_dropped_closes() {
    let fake = Fake::start(drop);
    let error = fake.client().unwrap().ask(&Request::Reload).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
}

/// Listens, and does something with the first that comes.
fn other(with: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || with(listener.accept().unwrap().0));
    (directory, path)
}

#[test]
fn who_is_not_fepd_is_not_believed() {
    let (_directory, path) = other(|mut stream| stream.write_all(b"220 mail\n").unwrap());
    let error = Client::connect(&path, "test", LIMIT).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
    let (_directory, path) = other(|mut stream| {
        let hello = b"{\"version\":7,\"oldest\":5,\"program\":\"fepd 9\"}\n";
        stream.write_all(hello).unwrap();
    });
    let error = Client::connect(&path, "test", LIMIT).unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("fepd 9 speaks version 7 of the protocol, this program 1 to 1"));
    let (_directory, path) = other(|mut stream| {
        // Until the other end gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let limit = Duration::from_millis(200);
    let error = Client::connect(&path, "test", limit).unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error}");
}

#[test]
fn a_request_that_is_too_long_is_not_sent() {
    let fake = Fake::start(|_| panic!("nothing is asked"));
    let node = "x".repeat(REQUEST_MAX);
    let error = fake.client().unwrap().ask(&Request::NodeDel { node });
    // Nothing comes back either: the answer is not waited for.
    assert!(matches!(error, Err(Error::TooLong)), "{error:?}");
}
