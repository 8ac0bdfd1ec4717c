//! ecsbeat collects metrics of Dell EMC ECS.
