//! The names of the tools that `stsctl setup` knows.

use std::fmt;

use clap::ValueEnum;

/// A tool, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ToolName {
    AliyunCli,
    CredentialsPython,
    CredentialsNode,
    CredentialsGo,
    CredentialsJava,
    Terraform,
    Ossutil1,
    Ossutil2,
    Ossfs,
    Ossfs2,
    Oss2,
    Aws,
    Rclone,
    Duckdb,
    Polars,
}

impl ToolName {
    /// Returns the name as it is typed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AliyunCli => "aliyun-cli",
            Self::CredentialsPython => "credentials-python",
            Self::CredentialsNode => "credentials-node",
            Self::CredentialsGo => "credentials-go",
            Self::CredentialsJava => "credentials-java",
            Self::Terraform => "terraform",
            Self::Ossutil1 => "ossutil1",
            Self::Ossutil2 => "ossutil2",
            Self::Ossfs => "ossfs",
            Self::Ossfs2 => "ossfs2",
            Self::Oss2 => "oss2",
            Self::Aws => "aws",
            Self::Rclone => "rclone",
            Self::Duckdb => "duckdb",
            Self::Polars => "polars",
        }
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::ToolName;

    #[test]
    fn tool_name_parses_from_its_own_text() {
        for name in ToolName::value_variants() {
            assert_eq!(ToolName::from_str(name.as_str(), false), Ok(*name));
        }
    }
}
