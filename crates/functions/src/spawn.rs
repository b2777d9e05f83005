//! Starts processes, and ends them with all that belongs to them.
//!
//! One thread does all the starting: the kernel kills a child when the *thread* that made it ends, and threads of a
//! runtime's pool come and go. A child is the leader of a process group which nobody in it can leave, so that one
//! signal ends all. It is only waited for after that signal: until then its number cannot mean somebody else.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::pipe::Pipe;
use crate::sandbox::Cage;

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// All of its environment.
    pub env: Vec<(OsString, OsString)>,
    pub dir: PathBuf,
    pub cage: Cage,
}

/// Asks the thread to start processes.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Start(Box<Plan>, oneshot::Sender<io::Result<std::process::Child>>),
    Reap(std::process::Child),
}

/// A started process. Dropped, it is killed with all of its group.
#[derive(Debug)]
pub(crate) struct Child {
    /// `None` once it has been waited for.
    inner: Option<std::process::Child>,
    pid: libc::pid_t,
    exit: AsyncFd<OwnedFd>,
    pub stdout: Pipe,
    pub stderr: Pipe,
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    pub(crate) fn start() -> io::Result<Spawner> {
        let (orders, received) = mpsc::channel();
        std::thread::Builder::new().name("functions-spawn".to_owned()).spawn(move || run(&received))?;
        Ok(Spawner { orders })
    }

    pub(crate) async fn spawn(&self, plan: Plan) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.orders.send(Order::Start(Box::new(plan), reply)).map_err(|_| gone())?;
        let mut inner = answer.await.map_err(|_| gone())??;
        let adopted = Child::adopt(&mut inner);
        match adopted {
            Ok((exit, stdout, stderr)) => Ok(Child {
                pid: inner.id() as libc::pid_t,
                inner: Some(inner),
                exit,
                stdout,
                stderr,
                orders: self.orders.clone(),
            }),
            Err(error) => {
                signal_group(inner.id() as libc::pid_t, libc::SIGKILL);
                let _ = self.orders.send(Order::Reap(inner));
                Err(error)
            }
        }
    }
}

impl Child {
    fn adopt(inner: &mut std::process::Child) -> io::Result<(AsyncFd<OwnedFd>, Pipe, Pipe)> {
        let stdout = inner.stdout.take().expect("it was piped");
        let stderr = inner.stderr.take().expect("it was piped");
        // SAFETY: the call answers a new descriptor, which is ours alone, or an error.
        let exit = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, inner.id() as libc::pid_t, 0u32);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd as libc::c_int)
        };
        // SAFETY: an owned descriptor is always the same one, and open until it is dropped.
        let exit = unsafe { AsyncFd::register_with_interest(exit, Interest::READABLE) };
        Ok((exit.map_err(|error| error.into_parts().1)?, Pipe::new(stdout.into())?, Pipe::new(stderr.into())?))
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Until the process has ended; it is not waited for yet.
    pub(crate) async fn exited(&self) {
        // An error means that the runtime is going down, and everything with it.
        let _ = self.exit.readable().await;
    }

    /// Whether the process has ended, asked of the kernel itself.
    pub(crate) fn has_ended(&self) -> bool {
        let mut exit = libc::pollfd { fd: self.exit.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd, and no waiting.
        unsafe { libc::poll(&raw mut exit, 1, 0) > 0 }
    }

    /// Asks the process (not its group) to end.
    pub(crate) fn terminate(&self) {
        if self.inner.is_some() {
            // SAFETY: not waited for yet, so the number is still its.
            unsafe { libc::kill(self.pid, libc::SIGTERM) };
        }
    }

    /// Kills the process and its group.
    pub(crate) fn kill(&self) {
        if self.inner.is_some() {
            signal_group(self.pid, libc::SIGKILL);
        }
    }

    /// Kills what is left of its group and waits for it. It has ended or is about to.
    pub(crate) async fn reap(&mut self) -> Option<ExitStatus> {
        // A process that cannot be killed (its disk hangs) must not hang us, too.
        const PATIENCE: Duration = Duration::from_secs(5);
        self.kill();
        let ended = tokio::time::timeout(PATIENCE, self.exited()).await.is_ok();
        let mut inner = self.inner.take()?;
        if ended && let Ok(Some(status)) = inner.try_wait() {
            return Some(status);
        }
        let _ = self.orders.send(Order::Reap(inner));
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Some(inner) = self.inner.take() {
            let _ = self.orders.send(Order::Reap(inner));
        }
    }
}

fn signal_group(leader: libc::pid_t, signal: libc::c_int) {
    // SAFETY: plain system call; the leader has not been waited for, so the group is still its.
    unsafe { libc::kill(-leader, signal) };
}

fn run(orders: &mpsc::Receiver<Order>) {
    let mut ending: Vec<std::process::Child> = Vec::new();
    loop {
        let order = if ending.is_empty() {
            match orders.recv() {
                Ok(order) => Some(order),
                Err(mpsc::RecvError) => return,
            }
        } else {
            match orders.recv_timeout(Duration::from_millis(50)) {
                Ok(order) => Some(order),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        };
        match order {
            Some(Order::Start(plan, reply)) => {
                if let Err(Ok(unwanted)) = reply.send(start(*plan)) {
                    signal_group(unwanted.id() as libc::pid_t, libc::SIGKILL);
                    ending.push(unwanted);
                }
            }
            Some(Order::Reap(child)) => ending.push(child),
            None => {}
        }
        ending.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

fn start(plan: Plan) -> io::Result<std::process::Child> {
    let Plan { program, args, env, dir, cage } = plan;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: `enter` keeps to what is allowed between fork and exec.
    unsafe { command.pre_exec(move || cage.enter()) };
    command.spawn()
}
