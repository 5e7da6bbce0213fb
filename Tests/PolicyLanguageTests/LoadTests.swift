// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// The language's own example, every statement of it.
let wholeLanguage = #"""
    policy 1
    securetcpip on except rsh, netrc    # give back one thing at a time

    service rexec {
        enable                          # default: disable
        listen 127.0.0.1:512, [::1]:512
        authenticate pam "portcullis-rexec"         # or: authenticate file "credentials"
        stderr-channel on               # off refuses a request that asks for one
        handshake-timeout 15s
        authentication-timeout 30s      # from the request to the launch: name service, PAM, audit
        command-length 4096             # bytes; at most 131071
        sessions 200 per-source 20
    }
    service rsh {
        enable
        listen 127.0.0.1:514
        trust rhosts                    # or: trust file "rhosts"    or: trust rule
        names refuse                    # host names in trust files: refuse | hosts-file | dns
        source-port reserved            # or: any, which check warns about
        account pam "portcullis-rsh"    # or: account none
    }
    refusal { delay 1s  rexec "Login incorrect."  rsh "Permission denied." }
    audit   { kernel auto  durability sync  on-failure refuse  checkpoint 60s }

    search-path /usr/bin:/bin           # where a first word without / is looked up; this is the default

    networks mainframes = { 10.20.0.0/16, 2001:db8:20::/48, 192.0.2.7 }
    users    operators  = { alice, bob, %wheel }         # %group; groups are for targets
    commands dumps      = { "/usr/sbin/dump 0uf - <path /home>", "/usr/bin/id" }
    hours    nights     = { mon-fri 22:00-04:00, sat 00:00-24:00 }

    sandbox backup extends standard {
        read    /usr /lib /lib64 /bin /etc /srv/data
        write   /var/backups
        execute /usr /bin
        syscalls allow @system-service deny @keyring, @setuid
        network off                     # or: tcp-connect 443, 8443   or: on
        limit   cpu 60s, memory 512M, processes 64, files 256, file-size 1G, output 100M
        timeout 10m
        umask   077
        path    /usr/bin:/bin
        environment LANG=C.UTF-8
        on-violation errno              # or: kill
        require landlock 4              # refuse to serve where the kernel has less
    }

    permit nightly-dump: rexec from @mainframes as backup run @dumps during @nights sandbox backup
    permit uptime:       rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime" sandbox strict
    permit alice-shell:  rexec from 10.1.0.0/16 as alice run shell sandbox standard
    forbid contractors:  any from 10.66.0.0/16
    forbid no-root:      any as root
    """#

@Suite struct LoadTests {
    @Test func theWholeLanguageLoads() throws {
        let loaded = PolicyText.load(SourceFile(name: "site.policy", text: wholeLanguage))
        for diagnostic in loaded.diagnostics { print(diagnostic.text) }
        print(loaded.canonicalText)
        let policy = try #require(loaded.policy)
        #expect(policy.rules.count == 5)
        let formatted = PolicyText.format(SourceFile(name: "site.policy", text: wholeLanguage))
        print(formatted.text ?? "none")
    }
}
