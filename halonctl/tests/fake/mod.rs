//! A control socket in a temporary directory that answers what a test says, and the program run on it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use control::{
    Message,
    command::{Call, Program},
    frame::{self, Request, RequestDecoder},
};

/// What the daemon says to a request: octets, as they are.
type Answer = Box<dyn Fn(&Request) -> Vec<u8> + Send>;

/// The letters and bodies that came.
type Requests = Mutex<Vec<(char, Vec<u8>)>>;

/// A daemon that ends with the test.
pub(crate) struct FakeDaemon {
    directory: tempfile::TempDir,
    requests: Arc<Requests>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    /// Answers every request with this message.
    pub(crate) fn answering(message: impl Message + 'static) -> Self {
        Self::with(move |_| {
            let mut out = Vec::new();
            frame::encode_success(&message, &mut out);
            out
        })
    }

    /// Answers every request with an error.
    pub(crate) fn failing(text: &'static str) -> Self {
        Self::with(move |_| {
            let mut out = Vec::new();
            frame::encode_error(text, &mut out);
            out
        })
    }

    /// Answers every request with octets.
    pub(crate) fn with(answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("smtpd.ctl")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let answer: Answer = Box::new(answer);
        let (recorded, stop) = (Arc::clone(&requests), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                serve(stream.unwrap(), &answer, &recorded);
            }
        });
        Self { directory, requests, stopping, thread: Some(thread) }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("smtpd.ctl")
    }

    /// Runs the program on this socket.
    pub(crate) fn halonctl(&self, args: &[&str]) -> Output {
        let socket = self.socket();
        let mut all = vec!["--socket", socket.to_str().unwrap()];
        all.extend(args);
        halonctl(&all)
    }

    /// Runs the program, which must succeed, and returns what it prints.
    pub(crate) fn prints(&self, args: &[&str]) -> String {
        let output = self.halonctl(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "halonctl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The request that the last command made.
    pub(crate) fn request<Q: Message + Default, R>(&self, call: Call<Q, R>) -> Q {
        let requests = self.requests.lock().unwrap();
        let (letter, body) = requests.last().expect("a request was made");
        assert_eq!(*letter, call.letter_char());
        Q::decode(body.as_slice()).unwrap()
    }

    /// How many requests were made.
    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread from accept.
        let _ = UnixStream::connect(self.socket());
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the fake daemon panicked");
        }
    }
}

fn serve(mut stream: UnixStream, answer: &Answer, requests: &Requests) {
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return;
        }
        let mut input = &buffer[..count];
        while let Some(request) = decoder.decode(&mut input).unwrap() {
            let letter = request.command.letter_char();
            requests.lock().unwrap().push((letter, request.body.clone()));
            if stream.write_all(&answer(&request)).is_err() {
                return;
            }
        }
    }
}

/// Runs the program.
pub(crate) fn halonctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halonctl")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Exit code and stderr of the program, with the path of the socket taken out.
pub(crate) fn failure(output: &Output, directory: &Path) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    let error = error.replace(directory.to_str().unwrap(), "DIR");
    format!("exit code {}\n{error}", output.status.code().unwrap())
}

/// Another place for the program, where users other than ours may run it.
pub(crate) fn copy_program(directory: &Path) -> PathBuf {
    let path = directory.join("halonctl");
    fs::copy(env!("CARGO_BIN_EXE_halonctl"), &path).unwrap();
    path
}
