/* native_report.h - what a job tells of its objects: a line of JSON each, from all nodes (target/job_each.h).
 *
 * Shape    a step: it reads the report into r->text, then `then` runs, with the state that was the operation's.
 * Errors   ERR_TOO_LARGE, told.
 * Thread   the request's loop.
 */
#ifndef SLUICE_GATEWAY_NATIVE_REPORT_H
#define SLUICE_GATEWAY_NATIVE_REPORT_H

#include "gateway/native_request.h"

enum step_next native_report(struct native_request *r, struct str id, step_fn *then);

#endif
