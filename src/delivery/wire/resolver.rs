//! Resolves targets' names: what the guard admits of the answer is what is connected to.
//!
//! The guard judges inside of connecting, so that there is no second look-up which could be answered
//! otherwise. The system resolver blocks a thread for as long as a name server is silent, so one
//! name is asked for once at a time, however many attempts wait for it, and few names at once. The
//! threads are of their own: in a pool that is shared with the log's reads, those would go round all
//! the threads that silent names had made, and each would keep memory. Names that were slow hold up
//! one another and nobody else, and a name that was found before is not waited for long.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{thread, vec};

use hyper_util::client::legacy::connect::dns::Name;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Service};

use super::names::{Names, Threads};
use super::phases;
use crate::guard::Guard;
use crate::limits;

/// A look-up as the system does it: blocking, ports left open.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The resolver that the client for targets has.
#[derive(Clone)]
pub(in crate::delivery) struct Resolver(Arc<Inner>);

struct Inner {
    guard: Guard,
    lookup: Box<Lookup>,
    /// The names that are being asked for.
    asked: Mutex<HashMap<String, watch::Receiver<Option<Answer>>>>,
    names: Names,
    threads: Threads,
}

impl Resolver {
    pub(in crate::delivery) fn new(guard: Guard) -> Arc<Resolver> {
        Self::over(guard, system)
    }

    fn over(
        guard: Guard,
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Arc<Resolver> {
        Arc::new(Resolver(Arc::new(Inner {
            guard,
            lookup: Box::new(lookup),
            asked: Mutex::default(),
            names: Names::new(),
            threads: Threads::new(),
        })))
    }
}

fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let began = Instant::now();
            let answer = inner.ask(name.as_str()).await?;
            phases::note(|phases| phases.dns = Some(began.elapsed()));
            let admitted = inner.guard.admit_resolved(name.as_str(), answer)?;
            Ok(admitted.into_iter())
        })
    }
}

impl Inner {
    /// Looks the name up, or gives its last answer when that takes long.
    async fn ask(self: &Arc<Self>, name: &str) -> Answer {
        let mut looked_up = pin!(self.look_up(name));
        match timeout(limits::NAME_LOOKUP_QUICK, &mut looked_up).await {
            Ok(answer) => answer,
            Err(_) => match self.names.last(name, Instant::now()) {
                Some(addresses) => Ok(addresses),
                None => looked_up.await,
            },
        }
    }

    /// Waits for the look-up that is under way, or starts one. Safe to be dropped at any point: a
    /// look-up that was started goes on to its end, and is still found by the next who asks.
    async fn look_up(self: &Arc<Self>, name: &str) -> Answer {
        let under_way = self.asked.lock().get(name).cloned();
        let mut answer = match under_way {
            Some(answer) => answer,
            None => self.start(name).await,
        };
        let ended = answer.wait_for(Option::is_some).await;
        match ended.ok().and_then(|answer| answer.clone()) {
            Some(answer) => answer,
            None => {
                // The look-up panicked. The next one is asked anew.
                self.asked.lock().remove(name);
                Err(Arc::new(io::Error::other("the name look-up broke off")))
            }
        }
    }

    async fn start(self: &Arc<Self>, name: &str) -> watch::Receiver<Option<Answer>> {
        let room = self.threads.room(self.names.pace(name)).await;
        let mut asked = self.asked.lock();
        if let Some(answer) = asked.get(name) {
            // Somebody else was first meanwhile.
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        asked.insert(name.to_owned(), answer.clone());
        let inner = self.clone();
        let name = name.to_owned();
        let runtime = Handle::current();
        let look_up = move || {
            // Its clock may be one that a test steps.
            let _entered = runtime.enter();
            let began = Instant::now();
            let answer = (inner.lookup)(&name).map_err(Arc::new);
            let now = Instant::now();
            let took = now.duration_since(began);
            inner.names.learn(&name, took, answer.as_ref().ok(), now);
            inner.asked.lock().remove(&name);
            drop(room);
            tell.send_replace(Some(answer));
        };
        let thread = thread::Builder::new().name("name-lookup".to_owned());
        if let Err(error) = thread.spawn(look_up) {
            // Those who wait are told that the look-up broke off.
            tracing::warn!("no thread for a name look-up: {error}");
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    use tokio::task::unconstrained;

    use super::super::names::Pace;
    use super::*;
    use crate::guard::{Config, Mode, Network, Refusal};

    fn on() -> Guard {
        let config = Config {
            mode: Mode::On,
            ..Config::default()
        };
        Guard::new(config, false)
    }

    async fn resolve(resolver: &Resolver, name: &str) -> Result<Vec<SocketAddr>, String> {
        let answer = resolver.clone().call(name.parse().unwrap()).await;
        answer
            .map(Iterator::collect)
            .map_err(|error| error.to_string())
    }

    /// A look-up's thread is not at its end when its answer is known already: a stepped clock steps
    /// by itself while nothing but a thread is at work.
    async fn until_none_is_asked(resolver: &Resolver) {
        while !resolver.0.asked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    fn at(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_judged_is_what_is_connected_to() {
        let answers = Mutex::new(vec![
            // Public at first, private when it counts; then both; then nothing at all.
            at(&["8.8.8.8:0"]),
            at(&["10.0.0.1:0", "[::ffff:127.0.0.1]:0"]),
            at(&["169.254.169.254:0", "8.8.8.8:0", "[::1]:0"]),
            at(&[]),
        ]);
        let resolver = Resolver::over(on(), move |_| Ok(answers.lock().remove(0)));
        let refused = Err(Refusal(Network::Private).to_string());
        assert_eq!(
            resolve(&resolver, "rebind.example").await,
            Ok(at(&["8.8.8.8:0"]))
        );
        assert_eq!(resolve(&resolver, "rebind.example").await, refused);
        assert_eq!(
            resolve(&resolver, "rebind.example").await,
            Ok(at(&["8.8.8.8:0"]))
        );
        assert_eq!(resolve(&resolver, "rebind.example").await, Ok(at(&[])));
    }

    #[tokio::test]
    async fn a_name_that_many_wait_for_is_asked_for_once() {
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let (count, opened) = (asked.clone(), gate.clone());
        let resolver = Resolver::over(on(), move |name| {
            count.fetch_add(1, Ordering::SeqCst);
            if name == "slow.example" {
                opened.wait();
            }
            Ok(at(&["8.8.8.8:0"]))
        });
        let mut waiting: Vec<_> = (0..100)
            .map(|_| Box::pin(resolve(&resolver, "slow.example")))
            .collect();
        for future in &mut waiting {
            assert!(futures_util::poll!(future).is_pending());
        }
        // Those who go away leave the look-up to the others.
        waiting.truncate(3);
        drop(waiting.remove(0));
        assert!(resolve(&resolver, "quick.example").await.is_ok());
        tokio::task::spawn_blocking(move || gate.wait())
            .await
            .unwrap();
        for future in waiting {
            assert_eq!(future.await, Ok(at(&["8.8.8.8:0"])));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(resolver.0.asked.lock().is_empty());
    }

    /// A resolver for which only `quick.example` is answered, until the sender is gone.
    fn mostly_silent() -> (Arc<Resolver>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, released) = mpsc::channel::<()>();
        let (released, begun) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let count = begun.clone();
        let resolver = Resolver::over(on(), move |name| {
            if name == "quick.example" {
                return Ok(at(&["8.8.8.8:0"]));
            }
            count.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().recv();
            Err(io::Error::other("silent"))
        });
        (resolver, release, begun)
    }

    #[tokio::test]
    async fn silent_names_take_only_so_many_threads_and_none_of_a_quick_one() {
        let (resolver, release, begun) = mostly_silent();
        let found = Ok(at(&["8.8.8.8:0"]));
        assert_eq!(resolve(&resolver, "quick.example").await, found);
        let names: Vec<String> = (0..limits::NAME_LOOKUPS + 5)
            .map(|index| format!("{index}.example"))
            .collect();
        let mut waiting: Vec<_> = names
            .iter()
            // Tokio would send this task to the back of the queue in the middle.
            .map(|name| Box::pin(unconstrained(resolve(&resolver, name))))
            .collect();
        for future in &mut waiting {
            assert!(futures_util::poll!(future).is_pending());
        }
        let under_way = limits::NAME_LOOKUPS_NOT_QUICK;
        assert_eq!(resolver.0.asked.lock().len(), under_way);
        for _ in 0..3 {
            assert_eq!(resolve(&resolver, "quick.example").await, found);
        }
        assert_eq!(resolver.0.asked.lock().len(), under_way);
        drop(release);
        for future in waiting {
            assert_eq!(future.await, Err("silent".to_owned()));
        }
        assert_eq!(begun.load(Ordering::SeqCst), names.len());
        assert_eq!(resolver.0.threads.free(), limits::NAME_LOOKUPS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_silent_waits_among_its_like() {
        let (resolver, release, begun) = mostly_silent();
        let mut silent = Box::pin(resolve(&resolver, "silent.example"));
        assert!(futures_util::poll!(&mut silent).is_pending());
        // Its thread is at it before the time goes on.
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(resolver.0.names.pace("silent.example"), Pace::New);
        tokio::time::advance(limits::NAME_LOOKUP_QUICK * 2).await;
        drop(release);
        assert_eq!(silent.await, Err("silent".to_owned()));
        assert_eq!(resolver.0.names.pace("silent.example"), Pace::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_found_is_connected_to_while_its_server_is_silent() {
        let (answer, answers) = mpsc::channel();
        let answers = Mutex::new(answers);
        let resolver = Resolver::over(on(), move |_| {
            answers.lock().recv().map_err(io::Error::other)
        });
        let (first, second) = (at(&["8.8.8.8:0"]), at(&["9.9.9.9:0"]));
        answer.send(first.clone()).unwrap();
        assert_eq!(resolve(&resolver, "a.example").await, Ok(first.clone()));
        until_none_is_asked(&resolver).await;
        let mut waiting = Box::pin(resolve(&resolver, "a.example"));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::time::advance(limits::NAME_LOOKUP_QUICK).await;
        assert_eq!(waiting.await, Ok(first), "the last answer");
        // The look-up goes on meanwhile, and what it finds is the answer from then on.
        answer.send(second.clone()).unwrap();
        until_none_is_asked(&resolver).await;
        let mut waiting = Box::pin(resolve(&resolver, "a.example"));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::time::advance(limits::NAME_LOOKUP_QUICK).await;
        assert_eq!(waiting.await, Ok(second.clone()));
        drop(answer);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_is_judged_like_any_other() {
        let (answer, answers) = mpsc::channel();
        let answers = Mutex::new(answers);
        let resolver = Resolver::over(on(), move |_| {
            answers.lock().recv().map_err(io::Error::other)
        });
        let refused = Err(Refusal(Network::Private).to_string());
        answer.send(at(&["10.0.0.1:0"])).unwrap();
        assert_eq!(resolve(&resolver, "inner.example").await, refused);
        until_none_is_asked(&resolver).await;
        let mut waiting = Box::pin(resolve(&resolver, "inner.example"));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::time::advance(limits::NAME_LOOKUP_QUICK).await;
        assert_eq!(waiting.await, refused);
        drop(answer);
    }

    #[tokio::test]
    async fn a_look_up_that_panics_is_asked_anew() {
        let first = AtomicUsize::new(0);
        let resolver = Resolver::over(on(), move |_| {
            assert!(
                first.fetch_add(1, Ordering::SeqCst) > 0,
                "the first one breaks"
            );
            Ok(at(&["8.8.8.8:0"]))
        });
        assert!(resolve(&resolver, "a.example").await.is_err());
        assert_eq!(
            resolve(&resolver, "a.example").await,
            Ok(at(&["8.8.8.8:0"]))
        );
    }
}
