package ec2test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/blockstore"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// The EBS direct APIs write and read the blocks of snapshots. They are a REST
// service of their own.

// ebsTable returns the calls of the EBS direct APIs by name.
func ebsTable() map[string]action {
	return tableOf(
		handleStart(),
		handleBlocks("PutSnapshotBlock", (*call).putBlock),
		handleBlocks("CompleteSnapshot", (*call).completeUpload),
		handleBlocks("ListSnapshotBlocks", (*call).listBlocks),
		handleBlocks("ListChangedBlocks", (*call).listChangedBlocks),
		handleBlocks("GetSnapshotBlock", (*call).getBlock),
	)
}

// handleBlocks returns an action of EBS direct whose parameters are in the URI and
// the headers. They have the names of the API's members.
func handleBlocks[In, Out any](name string, f func(c *call, in *In, data []byte) (*Out, *ec2query.Error)) action {
	return action{
		name: name, input: reflect.TypeFor[In](), output: reflect.TypeFor[Out](), ebs: true,
		run: func(c *call, req *request) (any, *ec2query.Error) {
			in := new(In)
			if _, err := ec2query.Decode(req.form, in); err != nil {
				return nil, invalid(badValue, "%s", err.Message)
			}
			out, err := f(c, in, req.body)
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// handleStart returns StartSnapshot, whose parameters are in the body.
func handleStart() action {
	a := handleJSON("StartSnapshot", (*call).startUpload)
	decoded := a.run
	a.ebs = true
	a.run = func(c *call, req *request) (any, *ec2query.Error) {
		out, err := decoded(c, req)
		if err != nil && err.Reason == "" && err.Code == "ValidationException" {
			err.Reason = badValue
		}
		return out, err
	}
	return a
}

// ebsRequest returns the action of a request, and its parameters outside the body
// by the names of the API's members.
func ebsRequest(r *http.Request) (action string, params url.Values) {
	params = url.Values{}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	at := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	id := "SnapshotId"
	switch {
	case at(0) != "snapshots" || len(parts) > 4:
	case r.Method == http.MethodPost && len(parts) == 1:
		return "StartSnapshot", params
	case r.Method == http.MethodPost && len(parts) == 3 && at(1) == "completion":
		action, parts[1] = "CompleteSnapshot", parts[2]
	case r.Method == http.MethodGet && len(parts) == 3 && at(2) == "changedblocks":
		action, id = "ListChangedBlocks", "SecondSnapshotId"
	case at(2) != "blocks":
	case r.Method == http.MethodGet && len(parts) == 3:
		action = "ListSnapshotBlocks"
	case r.Method == http.MethodGet:
		action = "GetSnapshotBlock"
	case r.Method == http.MethodPut && len(parts) == 4:
		action = "PutSnapshotBlock"
	}
	if action == "" {
		return r.Method + " " + r.URL.Path, params
	}
	params.Set(id, parts[1])
	if strings.HasSuffix(action, "SnapshotBlock") {
		params.Set("BlockIndex", parts[3])
	}
	for name, values := range r.URL.Query() {
		if name == "" || strings.HasPrefix(name, "X-Amz-") { // of a presigned request
			continue
		}
		if name == "pageToken" {
			name = "nextToken"
		}
		params[strings.ToUpper(name[:1])+name[1:]] = values
	}
	for _, name := range []string{"Data-Length", "Progress", "Checksum", "Checksum-Algorithm", "Checksum-Aggregation-Method", "ChangedBlocksCount"} {
		if value := r.Header.Get("x-amz-" + name); value != "" && (r.Method != http.MethodGet) {
			params.Set(strings.ReplaceAll(name, "-", ""), value)
		}
	}
	return action, params
}

// Reasons of the errors of EBS direct.
const (
	badValue           = "INVALID_PARAMETER_VALUE"
	badSnapshot        = "INVALID_SNAPSHOT_ID"
	badBlock           = "INVALID_BLOCK"
	badVolumeSize      = "INVALID_VOLUME_SIZE"
	badTag             = "INVALID_TAG"
	badKey             = "INVALID_CUSTOMER_KEY"
	badBlockToken      = "INVALID_BLOCK_TOKEN"
	badPageToken       = "INVALID_PAGE_TOKEN"
	unrelatedSnapshots = "UNRELATED_SNAPSHOTS"
	conflictingBlock   = "CONFLICTING_BLOCK_UPDATE"
	noSnapshot         = "SNAPSHOT_NOT_FOUND"
	foreignAccount     = "UNAUTHORIZED_ACCOUNT"
	deniedByKey        = "DEPENDENCY_ACCESS_DENIED"
	throttledAccount   = "ACCOUNT_THROTTLED"
	throttledBlocks    = "RESOURCE_LEVEL_THROTTLE"
)

// ebsError returns an error of EBS direct with a reason.
func ebsError(code, reason, format string, args ...any) *ec2query.Error {
	return &ec2query.Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...), Status: ebsStatus(code)}
}

func invalid(reason, format string, args ...any) *ec2query.Error {
	return ebsError("ValidationException", reason, format, args...)
}

// ebsStatus returns the HTTP status of an error code of EBS direct.
func ebsStatus(code string) int {
	switch code {
	case "AccessDeniedException":
		return http.StatusForbidden
	case "ResourceNotFoundException":
		return http.StatusNotFound
	case "ConflictException":
		return http.StatusConflict
	case "ServiceQuotaExceededException":
		return http.StatusPaymentRequired
	case "InternalServerException":
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// ebsReason returns the usual reason of an error code, for faults.
func ebsReason(code string) string {
	switch code {
	case "ValidationException":
		return badValue
	case "AccessDeniedException":
		return foreignAccount
	case "ResourceNotFoundException":
		return noSnapshot
	case "RequestThrottledException":
		return throttledAccount
	case "ServiceQuotaExceededException":
		return "DEPENDENCY_SERVICE_QUOTA_EXCEEDED"
	}
	return ""
}

// ebsErrorResponse returns the response for an error.
func ebsErrorResponse(err *ec2query.Error) response {
	e := *err
	switch e.Code { // of checks that all services share
	case "AuthFailure", "UnauthorizedOperation", "OptInRequired":
		e.Code, e.Status = "AccessDeniedException", http.StatusForbidden
	case "InternalError":
		e.Code = "InternalServerException"
	case "UnknownOperationException":
		e.Status = http.StatusNotFound
	default:
		if e.Status == http.StatusBadRequest {
			e.Status = ebsStatus(e.Code)
		}
	}
	if e.Reason == "" {
		e.Reason = ebsReason(e.Code)
	}
	body := struct {
		Message string
		Reason  string `json:",omitempty"`
	}{e.Message, e.Reason}
	resp := jsonResponse(e.Status, e.Code, body)
	resp.contentType = "application/json"
	resp.headers = map[string]string{"x-amzn-ErrorType": e.Code}
	return resp
}

// ebs handles a call of EBS direct.
func (s *Server) ebs(ctx context.Context, req *request) response {
	out, err := s.run(ctx, req)
	if err != nil {
		return s.errorResponse(req, err)
	}
	resp := response{status: http.StatusOK, contentType: "application/json"}
	switch req.action {
	case "StartSnapshot", "PutSnapshotBlock":
		resp.status = http.StatusCreated
	case "CompleteSnapshot":
		resp.status = http.StatusAccepted
	}
	if h, ok := out.(interface{ headers() map[string]string }); ok {
		resp.headers = h.headers()
		if p, ok := out.(interface{ payload() []byte }); ok {
			resp.contentType, resp.body = "application/octet-stream", p.payload()
			return resp
		}
		out = struct{}{}
	}
	body, encodeErr := json.Marshal(out)
	if encodeErr != nil {
		return s.errorResponse(req, ec2query.Internal(encodeErr))
	}
	resp.body = body
	return resp
}

// throttleBlocks takes request tokens of the account and of the snapshot.
func (c *call) throttleBlocks() *ec2query.Error {
	of := awsapi.DocumentedEBS(c.action.name).Requests
	if !c.take(c.account+" "+c.action.name, of, 1, c.now) {
		return ebsError("RequestThrottledException", throttledAccount, "You have exceeded the rate of %s requests of your account.", c.action.name)
	}
	if id := c.form.Get("SnapshotId"); strings.HasSuffix(c.action.name, "SnapshotBlock") && !c.take(id+" "+c.action.name, of, 1, c.now) {
		return ebsError("RequestThrottledException", throttledBlocks, "You have exceeded the rate of %s requests of the snapshot '%s'.", c.action.name, id)
	}
	return nil
}

// accessible returns a snapshot that the caller may read and write by EBS direct.
func (c *call) accessible(id string) (*snapshot, *ec2query.Error) {
	if snapshotKind().check(id) != nil {
		return nil, invalid(badSnapshot, "Invalid id: %q (expecting \"snap-...\")", id)
	}
	s, ok := c.snapshots.get(id)
	switch {
	case !ok || !c.isVisible(&s.base) || !c.readable(s):
		return nil, ebsError("ResourceNotFoundException", noSnapshot, "The snapshot '%s' does not exist.", id)
	case !c.owns(&s.base) && !c.admitsByName(&s.shares):
		return nil, ebsError("AccessDeniedException", foreignAccount, "The snapshot '%s' is public. Public snapshots are not supported.", id)
	}
	switch c.statusOfKey(s.kmsKey) {
	case keyDisabled:
		return nil, invalid(badKey, "The KMS key of the snapshot '%s' is disabled.", id)
	case keyInaccessible:
		return nil, ebsError("AccessDeniedException", deniedByKey, "The KMS key of the snapshot '%s' is not accessible.", id)
	}
	return s, nil
}

// completedSnapshot returns a snapshot that the caller may read by EBS direct.
func (c *call) completedSnapshot(id string) (*snapshot, *ec2query.Error) {
	s, err := c.accessible(id)
	if err == nil && !s.completed(c.now) {
		return nil, invalid(badSnapshot, "The snapshot '%s' is not in the completed state: %s", id, s.status(c.now))
	}
	return s, err
}

// blocksOf returns the blocks of a snapshot's disk. It must be called with the
// region unlocked.
func (s *Server) blocksOf(ctx context.Context, id string, d *diskRef) (blockstore.Disk, *ec2query.Error) {
	blocks, err := d.contents(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, invalid(badSnapshot, "The snapshot '%s' has no blocks, because ec2test's machines in memory have files but no disk. See %s", id, blocksPage)
	}
	if err != nil {
		return nil, ebsError("InternalServerException", "", "%v", err)
	}
	return blocks, nil
}

// blocksPage says which snapshots have blocks.
const blocksPage = "https://pkg.go.dev/github.com/bakestone-go/bakestone/ec2/ec2test#hdr-Disks"
