// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CPAM
public import Core
internal import Glibc
public import Linux

/// One use of PAM, from start to end, for one request: one handle is one authentication.
///
/// Trusted on entry: nothing of the client's but what its type has checked. Modules run as this process, may hang, and
/// may fail: the session that calls them has a deadline which the monitor keeps. No step sleeps after a failure, the
/// user is read back after every step, and so are the process's ids.
///
/// The order is rexec: `authenticate`, `checkAccount`, `establishCredentials`, `openSession`; rsh: the same without
/// the first. What groups `establishCredentials` sets on this process (pam_group) the command does not have: its groups
/// are the account's, by name service. `close` undoes.
@safe
public final class PAMTransaction {
    /// The most bytes of a service's name.
    public static let serviceNameLimit = 64
    /// The most variables that are taken from modules.
    public static let environmentLimit = 256
    /// The most bytes of one variable.
    public static let variableLimit = 4_096

    /// Where libpam 1.5 looks for services.
    private static let directories = ["/etc/pam.d", "/usr/lib/pam.d"]

    private let handle: OpaquePointer
    private let user: [UInt8]
    private let ids: [UInt32]
    private let surroundings: ProcessSurroundings?
    /// The resource limits as `openSession` left them (pam_limits), for the command; this process's own are put back.
    /// Nil without `keeping`.
    public private(set) var limits: ResourceLimits.Snapshot?
    private var hasCredentials = false
    private var hasSession = false

    /// Starts PAM for a service.
    ///
    /// - Parameters:
    ///   - service: a name below /etc/pam.d, in lower case, as libpam reads it.
    ///   - remoteHost: the peer's address, for PAM_RHOST: never a name.
    ///   - remoteUser: rsh's remote user, for PAM_RUSER.
    ///   - terminal: what stands in libpam's own audit records: the service.
    ///   - keeping: what is put back and verified after every step; nil in a process that modules may change.
    /// - Throws: `noSuchService` where there is no such file: libpam would silently go on with `other`.
    public init(
        service: String, user: UserName, remoteHost: IPAddress, remoteUser: UserName?, terminal: Service,
        keeping surroundings: ProcessSurroundings? = nil
    ) throws(PAMError) {
        try Self.checkService(service)
        guard let ids = Self.currentIDs() else {
            throw PAMError(.start, .identityChanged, text: "the process's ids cannot be read")
        }
        var made: OpaquePointer?
        let code: Int32
        if let remoteUser {
            // SAFETY: the strings are NUL-terminated for the call, and libpam copies them.
            code = unsafe portcullis_pam_start(
                service, user.description, remoteHost.description, remoteUser.description, terminal.name, &made)
        } else {
            // SAFETY: as above.
            code = unsafe portcullis_pam_start(
                service, user.description, remoteHost.description, nil, terminal.name, &made)
        }
        // SAFETY: the shim leaves a handle exactly where it says success.
        guard code == PAM_SUCCESS, let made = unsafe made else {
            throw PAMError(.start, .code(code), text: Self.text(code))
        }
        // SAFETY: the handle is this object's alone until its end.
        unsafe handle = made
        self.user = user.bytes
        self.ids = ids
        self.surroundings = surroundings
        try check(.start, PAM_SUCCESS)
    }

    deinit {
        // pam_end unmaps the modules. What a thread of theirs runs would be gone under it and end this process, with the
        // reason not yet told; so where `keeping` says that this process may have no threads but has some, the modules
        // stay as long as it does. libpam's copy of the password does not: it is erased at the end of `authenticate`.
        guard surroundings == nil || Process.threadCount() == 1 else { return }
        // SAFETY: nobody else has the handle.
        unsafe portcullis_pam_end(handle)
    }

    /// Whether a service of this name is configured, so that libpam would not go on with `other`.
    public static func hasService(_ service: String) -> Bool {
        (try? checkService(service)) != nil
    }

    private static func checkService(_ service: String) throws(PAMError) {
        // libpam lower-cases names and cuts paths off: only a name that survives both is what was checked.
        let isName = service.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard isName, (1...serviceNameLimit).contains(service.utf8.count), !service.hasPrefix(".") else {
            throw PAMError(.start, .serviceName, text: "not the name of a PAM service")
        }
        let isThere = directories.contains { directory in
            (try? File.status("\(directory)/\(service)"))?.kind == .regular
        }
        guard isThere else {
            throw PAMError(.start, .noSuchService, text: "no service \(service) in /etc/pam.d or /usr/lib/pam.d")
        }
    }

    /// What modules may not keep changed from now on, besides what there was at the start.
    public func keep(_ descriptor: Descriptor) {
        surroundings?.keep(descriptor)
    }

    // MARK: - Steps

    /// Has the stack verify the password.
    ///
    /// One prompt without echo that asks for a password is answered, once; any other prompt fails.
    public func authenticate(_ password: Secret) throws(PAMError) {
        let before = refusedPrompts
        surroundings?.enter()
        // SAFETY: the handle is ours, and the shim forgets the password's pointer before it returns.
        let code = unsafe password.withCString { unsafe portcullis_pam_authenticate(handle, $0) }
        try check(.authenticate, code, refusedBefore: before)
    }

    /// Has the stack say whether the account may be used now; a password that has to be changed first refuses.
    public func checkAccount() throws(PAMError) {
        let before = refusedPrompts
        surroundings?.enter()
        // SAFETY: the handle is ours.
        let code = unsafe portcullis_pam_account(handle)
        try check(.account, code, refusedBefore: before)
    }

    /// Has modules set what credentials they know, groups among them, on this process.
    public func establishCredentials() throws(PAMError) {
        let before = refusedPrompts
        surroundings?.enter()
        hasCredentials = true
        // SAFETY: the handle is ours.
        let code = unsafe portcullis_pam_credentials_establish(handle)
        try check(.credentials, code, refusedBefore: before)
    }

    /// Opens the session.
    public func openSession() throws(PAMError) {
        let before = refusedPrompts
        surroundings?.enter()
        // A stack that fails half way has opened some modules' sessions: they are closed too.
        hasSession = true
        // SAFETY: the handle is ours.
        let code = unsafe portcullis_pam_session_open(handle)
        try check(.session, code, refusedBefore: before)
    }

    /// Closes what was opened, in reverse order; the failures are for the record and end nothing.
    @discardableResult
    public func close() -> [PAMError] {
        var failures: [PAMError] = []
        surroundings?.enter()
        if hasSession {
            hasSession = false
            // SAFETY: the handle is ours.
            let code = unsafe portcullis_pam_session_close(handle)
            if code != PAM_SUCCESS { failures.append(PAMError(.closing, .code(code), text: Self.text(code))) }
        }
        if hasCredentials {
            hasCredentials = false
            // SAFETY: the handle is ours.
            let code = unsafe portcullis_pam_credentials_delete(handle)
            if code != PAM_SUCCESS { failures.append(PAMError(.closing, .code(code), text: Self.text(code))) }
        }
        do throws(ProcessSurroundings.Change) {
            try surroundings?.restore()
        } catch {
            failures.append(PAMError(.closing, .processChanged, text: error.description))
        }
        return failures
    }

    /// The variables that modules have set, `NAME=VALUE`; what is not of that form, or too long, is left out.
    ///
    /// They are a module's words: the caller decides which of them a command gets.
    public func environment() -> [ByteText] {
        // SAFETY: the handle is ours; the list ends in NULL, its strings in NUL, and it is erased below.
        guard let list = unsafe portcullis_pam_environment(handle) else { return [] }
        defer {
            // SAFETY: the list is the one that was made above.
            unsafe portcullis_pam_environment_free(list)
        }
        var found: [ByteText] = []
        // SAFETY: a copy of the pointer.
        var place = unsafe list
        // SAFETY: the place moves over the list's entries up to its NULL.
        while found.count < Self.environmentLimit, let entry = unsafe place.pointee {
            // SAFETY: the entry is a NUL-terminated string, of which no more than the limit and one are looked at.
            let length = unsafe strnlen(entry, Self.variableLimit + 1)
            // SAFETY: the string has that many bytes.
            let bytes = (0..<length).map { unsafe UInt8(bitPattern: entry[$0]) }
            if length <= Self.variableLimit, let equals = bytes.firstIndex(of: UInt8(ascii: "=")), equals > 0 {
                found.append(ByteText(bytes))
            }
            // SAFETY: the entry was not the terminator, so another one follows.
            unsafe place += 1
        }
        return found
    }

    // MARK: - Checks

    private var refusedPrompts: Int32 {
        // SAFETY: the handle is ours.
        unsafe portcullis_pam_refused(handle)
    }

    /// Judges a step by its code and by what it left behind.
    private func check(_ step: PAMError.Step, _ code: Int32, refusedBefore: Int32 = 0) throws(PAMError) {
        if step == .session, surroundings != nil { limits = try? ResourceLimits.Snapshot() }
        do throws(ProcessSurroundings.Change) {
            try surroundings?.restore()
        } catch {
            throw PAMError(step, .processChanged, text: error.description)
        }
        // A module that changed the ids has broken what every later check stands on, whatever it answered.
        guard Self.currentIDs() == ids else {
            throw PAMError(step, .identityChanged, text: "a module changed the process's ids")
        }
        guard refusedPrompts == refusedBefore else {
            throw PAMError(step, .foreignPrompt, text: "a module asked for more than the password")
        }
        guard code == PAM_SUCCESS else {
            throw PAMError(step, .code(code), text: Self.text(code))
        }
        guard currentUser == user else {
            throw PAMError(step, .userChanged, text: "a module changed the user")
        }
    }

    private var currentUser: [UInt8]? {
        // SAFETY: the string lives until the next step, and is copied; a name longer than any we know is another one.
        guard let text = unsafe portcullis_pam_user(handle) else { return nil }
        // SAFETY: as above.
        return unsafe (0..<strnlen(text, UserName.limit + 1)).map { unsafe UInt8(bitPattern: text[$0]) }
    }

    /// Nil, which equals no ids, where they cannot be read.
    private static func currentIDs() -> [UInt32]? {
        var ids = [UInt32](repeating: 0, count: 8)
        // SAFETY: the shim writes eight numbers.
        return unsafe portcullis_pam_ids_read(&ids) == 0 ? ids : nil
    }

    private static func text(_ code: Int32) -> String {
        // SAFETY: the text is a constant.
        unsafe String(cString: portcullis_pam_text(code))
    }
}
