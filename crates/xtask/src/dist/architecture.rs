//! The architectures of a release, and the names that others have for them.

use std::env;

/// An architecture of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Returns the architecture of this machine.
    ///
    /// # Errors
    ///
    /// There are no packages for this machine.
    pub(crate) fn host() -> Result<Self, String> {
        let own = env::consts::ARCH;
        let found = Self::ALL.into_iter().find(|it| it.kernel_name() == own);
        found.ok_or_else(|| format!("there are no packages for {own}"))
    }

    /// Returns the name that the kernel, rpm and Rust use.
    pub(crate) fn kernel_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Returns the name that Debian and container images use.
    pub(crate) fn debian_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Returns the target triple with a C library, `gnu` or `musl`.
    pub(crate) fn triple(self, library: &str) -> String {
        format!("{}-unknown-linux-{library}", self.kernel_name())
    }

    /// Returns the C compiler, which is also the linker, for programs that are built on another
    /// architecture: Debian's for the C library of GNU. Rust brings all of musl that a link needs.
    pub(crate) fn cross_compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.kernel_name())
    }

    /// Returns Debian's packages of the cross compiler and of the C library.
    pub(crate) fn cross_packages(self) -> [&'static str; 2] {
        match self {
            Self::X86_64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            Self::Aarch64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }
}
