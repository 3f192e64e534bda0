//! An SMTP client that sends what the test says, byte by byte if need be.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A plain connection to a server under test.
#[derive(Debug)]
pub struct SmtpClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl SmtpClient {
    /// Connects and reads the banner.
    ///
    /// # Panics
    ///
    /// When nobody answers within ten seconds.
    pub async fn connect(address: SocketAddr) -> (Self, String) {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut client = Self { stream, buffer: Vec::new() };
        let banner = client.reply().await;
        (client, banner)
    }

    /// Sends one command line and reads its reply.
    pub async fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// When the server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection stays open");
    }

    /// Breaks the connection off: the server's system is told so by a reset.
    ///
    /// # Panics
    ///
    /// When the socket cannot be set so.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket that lingers for no time");
    }

    /// Reads one reply; the lines of a multi-line reply are separated by `\n`.
    ///
    /// An empty text means that the server closed the connection.
    ///
    /// # Panics
    ///
    /// When no whole reply comes within ten seconds.
    pub async fn reply(&mut self) -> String {
        timeout(PATIENCE, self.read_reply()).await.expect("a reply within ten seconds")
    }

    /// As [`Self::reply`], for work of a server that takes a while.
    ///
    /// # Panics
    ///
    /// When no whole reply comes within two minutes.
    pub async fn late_reply(&mut self) -> String {
        timeout(12 * PATIENCE, self.read_reply()).await.expect("a reply within two minutes")
    }

    /// Sends a whole message and returns the reply to its end.
    pub async fn deliver(&mut self, from: &str, to: &[&str], message: &str) -> String {
        let reply = self.command(&format!("MAIL FROM:<{from}>")).await;
        if !reply.starts_with('2') {
            return reply;
        }
        for recipient in to {
            let reply = self.command(&format!("RCPT TO:<{recipient}>")).await;
            if !reply.starts_with('2') {
                return reply;
            }
        }
        let reply = self.command("DATA").await;
        if !reply.starts_with('3') {
            return reply;
        }
        self.send(message.as_bytes()).await;
        self.command(".").await
    }

    async fn read_reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.read_line().await else { return lines.join("\n") };
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return lines.join("\n");
            }
        }
    }

    async fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.buffer.extend_from_slice(&chunk[..len]),
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
