package ec2test

import (
	"context"
	"net/http"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// ec2 handles a call of EC2.
func (s *Server) ec2(ctx context.Context, req *request) response {
	body, err := s.run(ctx, req)
	if err != nil {
		return s.errorResponse(req, err)
	}
	encoded, encodeErr := ec2query.EncodeResponse(req.action, req.id, body)
	if encodeErr != nil {
		return s.errorResponse(req, ec2query.Internal(encodeErr))
	}
	return response{status: http.StatusOK, contentType: "text/xml;charset=UTF-8", body: encoded}
}

// plainQuery handles a call of a service with the plain query protocol. The
// space is the XML namespace of its responses.
func (s *Server) plainQuery(ctx context.Context, space string, req *request) response {
	flat := *req
	flat.form = ec2query.Flatten(req.form)
	body, err := s.run(ctx, &flat)
	if err != nil {
		if err.Code == "RequestLimitExceeded" {
			err = &ec2query.Error{Code: "Throttling", Message: "Rate exceeded", Status: http.StatusBadRequest}
		}
		return queryError(err, req.id)
	}
	encoded, encodeErr := ec2query.EncodePlainResponse(space, req.action, req.id, body)
	if encodeErr != nil {
		return queryError(ec2query.Internal(encodeErr), req.id)
	}
	return response{status: http.StatusOK, contentType: "text/xml", body: encoded}
}

// queryError returns the response for an error in the plain query protocol.
func queryError(err *ec2query.Error, requestID string) response {
	body, encodeErr := ec2query.EncodePlainError(err, requestID)
	if encodeErr != nil {
		return response{status: http.StatusInternalServerError, code: err.Code}
	}
	return response{status: err.Status, contentType: "text/xml", body: body, code: err.Code}
}
