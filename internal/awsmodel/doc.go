// Package awsmodel judges what ec2test takes and answers by the models of AWS's
// services: the files service-2.json that AWS's client for Python, botocore,
// ships and that AWS's own clients are made from. It is for tests.
//
//	model, err := awsmodel.Read(file)
//	model.Param("RunInstances", "TagSpecification.N.ResourceType") // nil: the model knows it
//	model.Judge("DescribeImages", body)                            // what the model does not allow in it
//
// A model says which members there can be, of which type, and with which values
// where these are an enumeration. It does not say which members are always
// there, so what is missing from an answer is nothing that it can tell.
package awsmodel
