"""Published X-ray views with known poses: DeepFluoro and Ljubljana, in their forms."""
