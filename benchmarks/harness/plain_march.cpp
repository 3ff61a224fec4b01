// The reference of benchmarks/guard.py: a march through a volume as anybody would write it, one ray
// after the other, one sample after the other. It must not be made faster.

#include <algorithm>
#include <cmath>

// rays: per ray start (x, y, z) and extent (x, y, z) in index coordinates, and its length [mm].
extern "C" void plain_march(
    const float* mu, const int* size, const float* rays, int count, float step_mm, float* out)
{
    const int row = size[0], plane = size[0] * size[1];
    for (int r = 0; r < count; r++)
    {
        const float* ray = rays + 7 * r;
        const int steps = std::max(1, int(std::ceil(ray[6] / step_mm)));
        float sum = 0;
        for (int n = 0; n < steps; n++)
        {
            const float at = (n + 0.5f) / steps;
            int lower[3];
            float f[3];
            for (int k = 0; k < 3; k++)
            {
                const float held = std::min(std::max(ray[k] + at * ray[3 + k], 0.0f), size[k] - 1.0f);
                lower[k] = std::min(int(held), size[k] - 2);
                f[k] = held - lower[k];
            }
            const float* m = mu + lower[0] + lower[1] * row + lower[2] * plane;
            const float v00 = m[0] + f[0] * (m[1] - m[0]);
            const float v01 = m[row] + f[0] * (m[row + 1] - m[row]);
            const float v10 = m[plane] + f[0] * (m[plane + 1] - m[plane]);
            const float v11 = m[plane + row] + f[0] * (m[plane + row + 1] - m[plane + row]);
            const float v0 = v00 + f[1] * (v01 - v00), v1 = v10 + f[1] * (v11 - v10);
            sum += v0 + f[2] * (v1 - v0);
        }
        out[r] = sum * ray[6] / steps;
    }
}
