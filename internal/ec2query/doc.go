// Package ec2query implements the server side of AWS's query protocol.
//
// In this protocol a request is a form with the action's name and parameters,
// and a response is XML. IAM, STS and Auto Scaling speak its plain form, EC2 a
// dialect.
//
// # Requests
//
// The parameters of an action are a Go struct, which [Decode] fills:
//
//	type createImageInput struct {
//		InstanceID       string `ec2:"InstanceId,required"`
//		NoReboot         bool
//		BootModeOverride string `ec2:"BootModeOverride,oneof=uefi"`
//		TagSpecification []tagSpecification
//	}
//
// A parameter's name is that in the tag, ec2:"<name>[,required][,oneof=a|b]",
// or else the field's. A slice is EC2's flattened list (Name.1, Name.2), a
// struct is a group of parameters (Name.Member), a pointer tells an absent
// value from a zero one, []byte is base64, and the fields of an embedded struct
// belong to the outer one. A parameter without a field is an error: nothing is
// ignored silently.
//
// For the plain protocol pass the form through [Flatten] first.
//
// # Responses
//
// A response is a struct with xml tags. [EncodeResponse] adds what EC2 puts
// around it; [Set] and [Value] are EC2's lists and attributes.
// [EncodePlainResponse] and [Members] do the same for the plain protocol. An
// action fails with an [*Error], which [EncodeError] and [EncodePlainError]
// encode.
//
// [ParamNames] and [ResultNames] list what the structs of an action can hold,
// for documentation.
package ec2query
