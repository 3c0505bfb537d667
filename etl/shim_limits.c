#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

enum {
    FILES_MAX = 16384,
    LOW = 10, /* nice(2) */
};

/* ---- system calls ---- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#endif

/* No sidecar needs these, and the kernel's holes were often behind them. */
static const int denied[] = {
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    SYS_acct, /* file systems */
    SYS_unshare,
    SYS_setns, /* and clone(2), by its flags */
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_syslog,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
#endif
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_userfaultfd,
    SYS_open_by_handle_at, /* others' memory and files */
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl, /* not parted by namespaces */
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register, /* does what is filtered here */
};
enum { DENIED_COUNT = sizeof(denied) / sizeof(*denied), X32_BIT = 0x40000000 };
#define NEW_FLAGS                                                                                                      \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define LOW_WORD(n)                                                                                                    \
    (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0))
#define ADD(...) (code[n++] = (struct sock_filter)__VA_ARGS__)

/* Denied calls fail with EPERM, so that a program can go on without. clone3(2)'s flags are in memory that a filter can't see: with ENOSYS libc
 * uses clone(2). */
static int filter_calls(void)
{
#ifdef ARCH
    struct sock_filter code[DENIED_COUNT * 2 + 16];
    unsigned short n = 0;

    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0)); /* other calling conventions have other numbers */
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    for (size_t i = 0; i < DENIED_COUNT; i++) {
        ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)denied[i], 0, 1));
        ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    }
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW_WORD(0)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_FLAGS, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog program = {n, code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* ---- capabilities ---- */

void shim_drop_bounds(void)
{
    for (int i = 0; i <= 63; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* needs one itself, which an ordinary user has not */
}

/* Those of its user namespace: exec would take them as well. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    shim_drop_bounds();
    return (int)syscall(SYS_capset, &head, none);
}

/* ---- resources ---- */

static int limit(int what, uint64_t most)
{
    struct rlimit r;

    if (getrlimit((__rlimit_resource_t)what, &r) != 0)
        return -1;
    if (r.rlim_max > most)
        r.rlim_max = most;
    r.rlim_cur = r.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &r);
}

const char *shim_limit(const struct shim *s)
{
    const struct shim_orders *o = s->orders;

    if (o->low && setpriority(PRIO_PROCESS, 0, LOW) != 0)
        return "nice";
    if (limit(RLIMIT_CORE, 0) != 0 || limit(RLIMIT_NOFILE, FILES_MAX) != 0 || limit(RLIMIT_MEMLOCK, 64 << 10) != 0)
        return "limits";
    if (o->processes && limit(RLIMIT_NPROC, o->processes) != 0)
        return "limit of processes";
    if (drop_capabilities() != 0)
        return "drop capabilities";
    if (o->isolate && filter_calls() != 0)
        return "filter system calls";
    if (o->memory && limit(RLIMIT_AS, o->memory) != 0)
        return "limit of memory";
    return NULL;
}
