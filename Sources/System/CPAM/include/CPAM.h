// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#pragma once

#include <security/pam_appl.h>

/// One use of PAM: a handle and what its conversation needs. In C because libpam calls back with pointers to pointers
/// and takes over memory that the callback allocates.
struct portcullis_pam;

/// Starts. The items are set, the conversation refuses every prompt, and delays are the caller's. `remote_user` may be
/// NULL. Returns a PAM code; *made is NULL unless it is PAM_SUCCESS.
int portcullis_pam_start(const char *_Nonnull service, const char *_Nonnull user, const char *_Nonnull remote_host,
                         const char *_Nullable remote_user, const char *_Nonnull terminal,
                         struct portcullis_pam *_Nullable *_Nonnull made);

/// Authenticates. The first prompt without echo that asks for a password is answered with `password`; every other
/// prompt fails the conversation. The password is not kept. Returns a PAM code.
int portcullis_pam_authenticate(struct portcullis_pam *_Nonnull pam, const char *_Nonnull password);

/// The steps that take no answer: each returns a PAM code.
int portcullis_pam_account(struct portcullis_pam *_Nonnull pam);
int portcullis_pam_credentials_establish(struct portcullis_pam *_Nonnull pam);
int portcullis_pam_credentials_delete(struct portcullis_pam *_Nonnull pam);
int portcullis_pam_session_open(struct portcullis_pam *_Nonnull pam);
int portcullis_pam_session_close(struct portcullis_pam *_Nonnull pam);

/// PAM_USER as it is now, which a module may have changed; NULL where it cannot be had. Lives until the next step.
const char *_Nullable portcullis_pam_user(struct portcullis_pam *_Nonnull pam);

/// How many prompts the conversation refused.
int portcullis_pam_refused(const struct portcullis_pam *_Nonnull pam);

/// The text of a PAM code: a constant.
const char *_Nonnull portcullis_pam_text(int code);

/// Reads the real, effective, saved and file-system ids, user's and group's, of the calling thread. Returns 0 or a
/// positive errno. In C because getresuid needs _GNU_SOURCE, which Swift's importer does not define.
int portcullis_pam_ids_read(unsigned ids[_Nonnull 8]);

/// A copy of this process's environment, for portcullis_pam_environment_free; NULL where there is no memory. In C
/// because environ is a pointer that other calls move.
char *_Nullable *_Nullable portcullis_environment_copy(void);

/// Makes this process's environment what the copy says. Returns 0 or ENOMEM.
int portcullis_environment_restore(char *_Nullable const *_Nonnull copy);

/// Stops the interval timers, alarm(2)'s among them. In C because setitimer takes an anonymous enum in Swift.
void portcullis_timers_stop(void);

/// The variables that modules have set: a list of `NAME=VALUE` ended by NULL, or NULL where there is no memory.
char *_Nullable *_Nullable portcullis_pam_environment(struct portcullis_pam *_Nonnull pam);

/// Erases and frees such a list.
void portcullis_pam_environment_free(char *_Nullable *_Nonnull list);

/// Ends, with the last step's code, and frees.
void portcullis_pam_end(struct portcullis_pam *_Nonnull pam);
