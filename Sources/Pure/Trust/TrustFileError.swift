// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Why a trust file is rejected as a whole: the first line that is never honoured, and what is wrong with it.
public struct TrustFileError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The line, from 1; 0 where the file itself is wrong.
    public let line: Int
    /// What is wrong.
    public let problem: Problem

    init(line: Int, _ problem: Problem) {
        self.line = line
        self.problem = problem
    }

    /// What can be wrong with a line.
    public enum Problem: Sendable, Hashable {
        /// More than `TrustFile.sizeLimit` bytes in the file.
        case fileTooLong
        /// More than `TrustFile.lineLimit` bytes in a line.
        case lineTooLong
        /// A NUL or another control byte, the tab aside.
        case controlByte
        /// A blank before HOST; glibc stops reading there, and BSD reads an empty host.
        case leadingBlank
        /// More fields than the grammar has.
        case tooManyFields
        /// Fewer fields than the central file's grammar has.
        case tooFewFields
        /// A `+`: the wildcard of the C libraries, or a word that looks like one.
        case wildcard
        /// A netgroup.
        case netgroup
        /// A `-` that nothing follows.
        case bareMinus
        /// A `#` inside a field, where C libraries disagree on whether it starts a comment.
        case commentInField
        /// An address in another form than the canonical one.
        case addressForm
        /// An IPv6 link-local address without a scope.
        case linkLocalWithoutScope
        /// A scope on an address that is not link-local, or one that no interface can have.
        case scope
        /// A host name where the policy says `names refuse`.
        case nameRefused
        /// Neither an address nor a host name.
        case notAHost
        /// A local user that denies, which has no meaning.
        case localUser
    }

    /// `line N: TEXT`, in our own words: nothing of the file is repeated.
    public var description: String {
        line == 0 ? reason : "line \(line): \(reason)"
    }

    /// What is wrong, in our own words: nothing of the file is repeated.
    public var reason: String {
        switch problem {
        case .fileTooLong: "more than \(TrustFile.sizeLimit) bytes"
        case .lineTooLong: "more than \(TrustFile.lineLimit) bytes in a line"
        case .controlByte: "a control byte"
        case .leadingBlank: "a blank before the host"
        case .tooManyFields: "too many fields"
        case .tooFewFields: "too few fields"
        case .wildcard: "'+' is never honoured"
        case .netgroup: "netgroups are never honoured"
        case .bareMinus: "'-' without a name"
        case .commentInField: "'#' inside a field"
        case .addressForm: "an address that is not in canonical form"
        case .linkLocalWithoutScope: "a link-local address without a scope"
        case .scope: "a scope that cannot be"
        case .nameRefused: "a host name where the policy says 'names refuse'"
        case .notAHost: "neither an address nor a host name"
        case .localUser: "a local user that cannot be"
        }
    }
}
