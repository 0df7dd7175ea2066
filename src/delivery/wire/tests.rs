//! The client over real sockets: what it measures, and what it does not put up with.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::phases::Phases;
use super::trust::Trust;
use super::*;

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(30);

fn client(trust: Trust) -> TargetService {
    let ways = Ways::new(&Guard::off(), &Connections::default());
    ways.client(trust::config(trust, None).unwrap())
}

async fn post(client: &TargetService, url: &str) -> (Result<String, String>, Phases) {
    let mut request = reqwest::Request::new(reqwest::Method::POST, url.parse().unwrap());
    *request.body_mut() = Some("{}".into());
    let exchange = async {
        let answer = client.clone().oneshot(request).await;
        let answer = answer.map_err(|error| describe(&*error))?;
        answer.text().await.map_err(|error| describe(&error))
    };
    timeout(DEADLINE, measured(exchange)).await.expect("an end")
}

/// Serves connections one after the other, each by `serve`.
async fn listen<F: Future<Output = ()> + Send>(
    mut serve: impl FnMut(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    addr
}

/// Reads a request, which ends with its body.
async fn request_of(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(b"{}") {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

/// Writes until the other side has gone: how much it got rid of.
async fn flood(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> usize {
    let mut written = 0;
    while stream.write_all(bytes).await.is_ok() {
        written += bytes.len();
    }
    written
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    // A port that was just given back: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (answer, phases) = post(&client(Trust::Public), &url).await;
    let text = answer.unwrap_err();
    assert!(text.starts_with("could not connect"), "{text}");
    assert!(text.ends_with("connection refused"), "{text}");
    assert_eq!(phases.connect, None);
}

#[tokio::test]
async fn a_connection_is_measured_once_and_used_again() {
    let addr = listen(|mut stream| async move {
        while request_of(&mut stream).await {
            let answer = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
            // In two parts, as a slow network brings it.
            stream.write_all(&answer[..20]).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(&answer[20..]).await.unwrap();
        }
    })
    .await;
    let client = client(Trust::Public);
    let url = format!("http://localhost:{}/", addr.port());
    let (answer, phases) = post(&client, &url).await;
    assert_eq!(answer, Ok("done".to_owned()));
    assert!(
        phases.dns.is_some() && phases.connect.is_some(),
        "{phases:?}"
    );
    assert_eq!(phases.tls, None);
    for _ in 0..3 {
        assert_eq!(
            post(&client, &url).await,
            (Ok("done".to_owned()), Phases::default())
        );
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_not_read_on() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let addr = listen(move |mut stream| {
        let tell = tell.take();
        async move {
            request_of(&mut stream).await;
            let written = flood(&mut stream, &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(600)).await;
            if let Some(tell) = tell {
                tell.send(written).unwrap();
            }
        }
    })
    .await;
    let (answer, _) = post(&client(Trust::Public), &format!("http://{addr}/")).await;
    let text = answer.unwrap_err();
    assert!(text.contains("interim answers (1xx)"), "{text}");
    // What the sockets' buffers hold was not read.
    let written = told.await.unwrap();
    assert!(written < 32 << 20, "{written}");
}

#[tokio::test]
async fn interim_answers_over_http2_do_not_pile_up() {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let addr = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            // Its preface and first frames; then settings of ours, which are empty.
            stream.read_exact(&mut [0; 24 + 9]).await.unwrap();
            stream
                .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            let mut rest = vec![0; 64 * 1024];
            while !rest.windows(2).any(|two| two == b"{}") {
                let _ = stream.read(&mut rest).await.unwrap();
            }
            // HEADERS of stream 1: `:status: 103`, a literal by its name's index.
            let hints = [0, 0, 5, 1, 4, 0, 0, 0, 1, 0x08, 3, b'1', b'0', b'3'];
            flood(&mut stream, &hints.repeat(600)).await;
        }
    })
    .await;
    let url = format!("https://localhost:{}/", addr.port());
    let (answer, phases) = post(&client(Trust::Only(vec![certificate])), &url).await;
    let text = answer.unwrap_err();
    assert!(text.contains("HTTP/2 frames without end"), "{text}");
    assert!(phases.tls.is_some(), "{phases:?}");
}

/// What a connection does whose other side has gone away without a word, hours earlier.
struct Silent;

fn timed_out<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl Connection for Silent {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        timed_out()
    }
}

impl Write for Silent {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_connection_that_dies_is_told_apart_from_one_that_never_stood() {
    let error_of = |stands: bool| async move {
        let dial = tower::service_fn(move |_: Uri| {
            std::future::ready(match stands {
                true => Ok(Silent),
                false => Err(io::Error::from(io::ErrorKind::TimedOut)),
            })
        });
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(dial);
        let url = "http://target.example/".parse().unwrap();
        let (request, _) = outgoing(reqwest::Request::new(reqwest::Method::POST, url)).unwrap();
        let answer = client.request(request).await;
        tower::BoxError::from(answer.expect_err("nobody is there"))
    };
    let died = error_of(true).await;
    assert!(!is_connect_timeout(&died), "{died:?}");
    assert_eq!(
        describe(&*died),
        "the connection failed: connection error: the target gave no sign of life any more"
    );
    let never = error_of(false).await;
    assert!(is_connect_timeout(&never), "{never:?}");
}
