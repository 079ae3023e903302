package temporal_test

import (
	"github.com/nexus-rpc/sdk-go/nexus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

// A registry registers activities with an environment that knows no workflows.
type registry struct {
	*testsuite.TestActivityEnvironment
}

func (registry) RegisterWorkflow(any)                                         {}
func (registry) RegisterWorkflowWithOptions(any, workflow.RegisterOptions)    {}
func (registry) RegisterDynamicWorkflow(any, workflow.DynamicRegisterOptions) {}
func (registry) RegisterDynamicActivity(any, activity.DynamicRegisterOptions) {}
func (registry) RegisterNexusService(*nexus.Service)                          {}
