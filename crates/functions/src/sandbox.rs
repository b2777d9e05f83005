//! What a function's process may not do. Prepared here in the parent ([`Cage::build`]), put on in the child between fork
//! and exec ([`Cage::enter`]), where nothing but plain system calls is allowed.
//!
//! - **Landlock**: files can be opened only where a rule says so: Python and the system's libraries, its own code and
//!   packages, the CA file, name resolution's files; written only in its own socket folder and its own temporary
//!   folder. Not the data directory, not other functions, not `/proc`. No TCP ports are opened, and where there is an
//!   egress proxy, TCP connects only to it. No signals and no abstract sockets out of the sandbox (from ABI 6).
//! - **seccomp**: a short list of calls that no function needs: leaving the process group (which is how all of it is
//!   killed), tracing, namespaces, mounts, keyrings, BPF, io_uring, …; owners and attributes of files. Changes of files'
//!   modes and times are answered as done, and not done: they would reach the server's own files, which Landlock allows.
//! - no_new_privs, no capabilities (the server may be root), limits on open files, file sizes, data, core dumps.
//! - The kernel kills it when the server dies.
//!
//! Memory is watched from outside (`process`), since a limit on address space says little about memory used; the one
//! that is set is only a backstop.
//!
//! Not held back: UDP, unix sockets whose path the process knows, and looking at files' metadata (`stat`): Landlock has no
//! rule for them. A container or a user of its own for the server adds that.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

/// How much of the sandbox this kernel can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sandbox {
    /// All of it.
    Full,
    /// Files are held back, but not all else; says what is missing.
    Partial(String),
    /// The kernel has no Landlock: functions can read what the server can read. Says why.
    None(String),
}

impl Sandbox {
    /// Asks the kernel.
    pub(crate) fn of_this_kernel() -> Sandbox {
        const VERSION: libc::c_ulong = 1;
        // SAFETY: with the flag VERSION the call takes no attributes and only answers a number.
        let abi = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, VERSION)
        };
        if abi < 0 {
            let error = io::Error::last_os_error();
            let why = match error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => "Landlock is switched off at boot".to_owned(),
                Some(libc::ENOSYS) => "the kernel has no Landlock".to_owned(),
                _ => error.to_string(),
            };
            return Sandbox::None(why);
        }
        let mut missing = Vec::new();
        if abi < 4 {
            missing.push("rules for TCP");
        }
        if abi < 6 {
            missing.push("rules for signals and abstract sockets");
        }
        if filter().is_empty() {
            missing.push("the filter of system calls");
        }
        match missing.is_empty() {
            true => Sandbox::Full,
            false => Sandbox::Partial(format!("Landlock's ABI is {abi}: without {}", missing.join(" and "))),
        }
    }
}

impl std::fmt::Display for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sandbox::Full => f.write_str("full"),
            Sandbox::Partial(missing) => write!(f, "partial ({missing})"),
            Sandbox::None(why) => write!(f, "none ({why})"),
        }
    }
}

/// What a process may do.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// Files and folders to read and execute. What is not there is passed over.
    pub reads: &'a [PathBuf],
    /// Folders to write in.
    pub writes: &'a [&'a Path],
    /// Whether what it wrote may be executed: pip's builds.
    pub executes_own: bool,
    /// The one TCP port to connect to; `None`: any.
    pub connects: Option<u16>,
    /// Bytes of data, of any one file, and how many files may be open.
    pub data_bytes: Option<u64>,
    pub file_bytes: u64,
    pub open_files: u64,
}

/// The sandbox of one process, ready to be put on.
#[derive(Debug)]
pub(crate) struct Cage {
    ruleset: Option<OwnedFd>,
    filter: Vec<libc::sock_filter>,
    limits: [(libc::__rlimit_resource_t, u64); 4],
    data_bytes: Option<u64>,
    parent: libc::pid_t,
}

/// What every program needs: the loader, libraries, names, certificates, time zones.
const SYSTEM: [&str; 31] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/lsb-release",
    "/etc/debian_version",
    "/etc/redhat-release",
    "/etc/alpine-release",
    "/usr/share/locale",
];

const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full"];

impl Cage {
    /// Prepares the sandbox: opens the paths and builds the kernel's rule set.
    pub(crate) fn build(rules: &Rules<'_>, sandbox: &Sandbox) -> io::Result<Cage> {
        let ruleset = match sandbox {
            Sandbox::None(_) => None,
            _ => ruleset(rules).map_err(io::Error::other)?.into(),
        };
        Ok(Cage {
            ruleset,
            filter: filter(),
            limits: [
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_NOFILE, rules.open_files),
                (libc::RLIMIT_FSIZE, rules.file_bytes),
                (libc::RLIMIT_MEMLOCK, 8 << 20),
            ],
            data_bytes: rules.data_bytes,
            parent: std::process::id() as libc::pid_t,
        })
    }

    /// Puts it on, in the child.
    ///
    /// # Safety
    /// Only between fork and exec. Allocates nothing and takes no locks.
    pub(crate) unsafe fn enter(&self) -> io::Result<()> {
        // SAFETY: plain system calls on values of this process; all pointers are to live values of the right type.
        unsafe {
            // The parent may have died before the kernel was told; then nobody would kill us.
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))?;
            if libc::getppid() != self.parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // Whoever loses its parent becomes this process's child, so that all that belongs to it can be found.
            check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong))?;
            libc::umask(0o077);
            for (resource, value) in self.limits {
                limit(resource, value)?;
            }
            if let Some(bytes) = self.data_bytes {
                limit(libc::RLIMIT_DATA, bytes)?;
            }
            drop_capabilities();
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0))?;
            // Nothing of the server's stays open, whoever forgot to say so. Old kernels do not have the call.
            libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 4u32);
            if let Some(ruleset) = &self.ruleset {
                check(libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) as libc::c_int)?;
            }
            if !self.filter.is_empty() {
                let program =
                    libc::sock_fprog { len: self.filter.len() as u16, filter: self.filter.as_ptr().cast_mut() };
                check(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0u32, &raw const program)
                    as libc::c_int)?;
            }
        }
        Ok(())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets a limit, never above what is allowed.
///
/// # Safety
/// As [`Cage::enter`].
unsafe fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a live rlimit.
    unsafe {
        check(libc::getrlimit(resource, &raw mut now))?;
        let value = (value as libc::rlim_t).min(now.rlim_max);
        let wanted = libc::rlimit { rlim_cur: value, rlim_max: value };
        check(libc::setrlimit(resource, &raw const wanted))
    }
}

/// Gives up all capabilities for good; without any to begin with, nothing happens.
///
/// # Safety
/// As [`Cage::enter`].
unsafe fn drop_capabilities() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    const VERSION_3: u32 = 0x2008_0522;
    const CAPABILITIES: libc::c_ulong = 64;
    // SAFETY: the header says version 3, for which the kernel reads six words.
    unsafe {
        for capability in 0..CAPABILITIES {
            libc::prctl(libc::PR_CAPBSET_DROP, capability);
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0);
        let header = Header { version: VERSION_3, pid: 0 };
        let none = [0u32; 6];
        libc::syscall(libc::SYS_capset, &raw const header, &raw const none);
    }
}

fn ruleset(rules: &Rules<'_>) -> Result<RulesetCreated, RulesetError> {
    // What an older kernel does not know is left out by the crate.
    const ABI_MAX: ABI = ABI::V6;
    let all = AccessFs::from_all(ABI_MAX);
    let read = AccessFs::from_read(ABI_MAX);
    let mut write = all;
    write.remove(AccessFs::MakeChar | AccessFs::MakeBlock);
    if !rules.executes_own {
        write.remove(AccessFs::Execute);
    }
    let mut net = BitFlags::from(AccessNet::BindTcp);
    if rules.connects.is_some() {
        net |= AccessNet::ConnectTcp;
    }
    let mut ruleset =
        Ruleset::default().handle_access(all)?.handle_access(net)?.scope(Scope::from_all(ABI_MAX))?.create()?;
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> Result<(), RulesetError> {
        let (Ok(meta), Ok(fd)) = (path.metadata(), PathFd::new(path)) else { return Ok(()) };
        let access = if meta.is_dir() { access } else { access & AccessFs::from_file(ABI_MAX) };
        (&mut ruleset).add_rule(PathBeneath::new(fd, access))?;
        Ok(())
    };
    for path in SYSTEM {
        allow(Path::new(path), read)?;
    }
    for path in DEVICES {
        allow(Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    for path in rules.reads {
        allow(path, read)?;
    }
    for path in rules.writes {
        allow(path, write)?;
    }
    // Port 0 is "any that is free": urllib3 binds one to find out whether there is IPv6.
    ruleset = ruleset.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
    if let Some(port) = rules.connects {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset)
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn filter() -> Vec<libc::sock_filter> {
    Vec::new()
}

/// Changes a file's mode or times.
#[cfg(target_arch = "x86_64")]
const METADATA: [libc::c_long; 8] = [
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_utimensat,
];
#[cfg(target_arch = "aarch64")]
const METADATA: [libc::c_long; 4] = [libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat];

/// Newer than the C library's list of numbers; the same on both.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SYS_FCHMODAT2: libc::c_long = 452;

/// The filter of system calls, as a program of the kernel's small machine.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn filter() -> Vec<libc::sock_filter> {
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const FIRST_ARGUMENT: u32 = 16;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // Answers 0 without doing the call.
    const NOTHING: u32 = libc::SECCOMP_RET_ERRNO;
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equal = |value, jt, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, jt, jf);
    let any_of = |bits, jt, jf| op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, jt, jf);
    let answer = |value| op(libc::BPF_RET | libc::BPF_K, value, 0, 0);

    let mut program = vec![load(ARCH), equal(ARCHITECTURE, 1, 0), answer(ENOSYS), load(NUMBER)];
    // The second set of numbers that x86-64 has would go past the list.
    #[cfg(target_arch = "x86_64")]
    program.extend([op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0x4000_0000, 0, 1), answer(ENOSYS)]);
    let refused = [
        libc::SYS_setsid,
        libc::SYS_setpgid,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_fsconfig,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_acct,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_reboot,
        libc::SYS_personality,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
    ];
    #[cfg(target_arch = "x86_64")]
    let refused = refused.into_iter().chain([libc::SYS_chown, libc::SYS_lchown]);
    for number in refused {
        program.extend([equal(number as u32, 0, 1), answer(EPERM)]);
    }
    // Landlock lets metadata be changed of whatever can be named, and the server's files have the same owner. What programs
    // do to files of their own without thinking (the FDK to its socket) is answered as done, and nothing is done.
    for number in METADATA {
        program.extend([equal(number as u32, 0, 1), answer(NOTHING)]);
    }
    // Its flags cannot be looked at; without it the C library takes clone.
    program.extend([equal(libc::SYS_clone3 as u32, 0, 1), answer(ENOSYS)]);
    // No new namespaces.
    let namespaces = (libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP) as u32;
    program.extend([
        equal(libc::SYS_clone as u32, 0, 4),
        load(FIRST_ARGUMENT),
        any_of(namespaces, 0, 1),
        answer(EPERM),
        answer(ALLOW),
    ]);
    // What ties it to us stays tied.
    program.extend([
        equal(libc::SYS_prctl as u32, 0, 5),
        load(FIRST_ARGUMENT),
        equal(libc::PR_SET_PDEATHSIG as u32, 1, 0),
        equal(libc::PR_SET_CHILD_SUBREAPER as u32, 0, 1),
        answer(EPERM),
        answer(ALLOW),
    ]);
    program.push(answer(ALLOW));
    program
}
