//! `proxy`: a path to an address on which every byte takes a while, each way.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes that are read, stamped and written together, at the most.
const PIECE: u32 = 64 * 1024;
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The arguments of the hidden subcommand.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where the path leads.
    #[arg(long)]
    target: SocketAddr,
    /// Milliseconds from reading a byte to writing it, each way.
    #[arg(long, value_name = "MS")]
    delay: u64,
    /// MB that may be on the path at once, each way.
    #[arg(long, value_name = "MB", value_parser = in_flight())]
    in_flight: u32,
}

/// The MB that may be on a path at once, each way.
pub(super) fn in_flight() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000)
}

/// What a path does with bytes.
#[derive(Debug, Clone, Copy)]
struct Path {
    delay: Duration,
    /// Bytes on it, each way, at the most.
    in_flight: usize,
}

/// Passes connections on until the process is ended. Prints where it listens.
pub(crate) async fn run(options: Options) -> io::Result<()> {
    let Options { target, delay, in_flight } = options;
    let path = Path { delay: Duration::from_millis(delay), in_flight: in_flight as usize * 1_000_000 };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((near, _)) => {
                // A connection's failure is seen at both its ends.
                tokio::spawn(pass_on(near, target, path));
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends when both ways have ended, or at the first error, with both connections.
async fn pass_on(near: TcpStream, target: SocketAddr, path: Path) -> io::Result<()> {
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    tokio::try_join!(carry(from_near, to_far, path), carry(from_far, to_near, path))?;
    Ok(())
}

/// Carries one way's bytes, each for as long as the path takes, and then its end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    path: Path,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(path.in_flight));
    // A piece has a byte at least: the bytes are the only bound.
    let (queue, mut pieces) = mpsc::channel(path.in_flight);
    let take = async move {
        let mut piece = vec![0; PIECE as usize];
        loop {
            let mut taken = room.clone().acquire_many_owned(PIECE).await.map_err(io::Error::other)?;
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            drop(taken.split(piece.len() - length));
            let stamped = (Instant::now() + path.delay, piece[..length].to_vec(), taken);
            queue.send(stamped).await.map_err(io::Error::other)?;
        }
    };
    let give = async move {
        while let Some((due, piece, taken)) = pieces.recv().await {
            sleep_until(due).await;
            to.write_all(&piece).await?;
            drop(taken);
        }
        to.shutdown().await
    };
    tokio::try_join!(take, give)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_after_the_delay_and_the_end_behind_them() {
        let path = Path { delay: Duration::from_millis(5), in_flight: 2 * PIECE as usize };
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at / 7) as u8).collect();
        let (mut far, to) = tokio::io::duplex(1_000);
        let (begin, mut came) = (Instant::now(), Vec::new());
        let reading = async {
            came.push(far.read_u8().await?);
            let first = begin.elapsed();
            far.read_to_end(&mut came).await?;
            io::Result::Ok(first)
        };
        let (first, ()) = tokio::try_join!(reading, carry(sent.as_slice(), to, path)).unwrap();
        assert!(first >= path.delay, "the first byte came after {first:?}");
        assert!(came == sent, "{} of {} bytes came, or others", came.len(), sent.len());
    }

    #[tokio::test]
    async fn no_more_is_on_the_path_than_may_be() {
        let path = Path { delay: Duration::from_secs(3_600), in_flight: 3 * PIECE as usize };
        let mut endless = tokio::io::repeat(7).take(u64::MAX);
        {
            let mut carrying = pin!(carry(&mut endless, tokio::io::sink(), path));
            for _ in 0..100 {
                let polled = carrying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending));
            }
        }
        assert_eq!(u64::MAX - endless.limit(), path.in_flight as u64);
    }
}
