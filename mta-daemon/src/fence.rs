//! A fence around one piece of work: our own fault ends that piece and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The work panicked. What it was about is the caller's to log; the panic's own words are on
/// standard error already.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs `work` to its end, or to its panic.
///
/// State that the work shares with others must be sound wherever it may stop; here that is so
/// because locks are held over plain statements only and do not poison.
///
/// # Cancel safety
///
/// As `work` itself.
pub(crate) async fn fenced<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_a_value_passes() {
        assert_eq!(fenced(async { 7 }).await.unwrap(), 7);
        let breaks = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "on purpose");
        };
        assert!(fenced(breaks).await.is_err());
    }
}
